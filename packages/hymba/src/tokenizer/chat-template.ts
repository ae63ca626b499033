import { CheckpointError, RequestError } from '@baton/errors';
import { Template } from '@huggingface/jinja';
import type { TokenizerFiles } from './files.ts';

export interface ChatMessage {
  readonly role: string;
  readonly content: string | null;
  /** Whatever else the checkpoint's template reads: `name`, `tool_calls`, `tool_call_id`, … */
  readonly [field: string]: unknown;
}

export interface ChatOptions {
  /** Function definitions in the shape of the OpenAI chat API. */
  readonly tools?: readonly unknown[];
  /** Ends the text with the opening of the assistant's turn (default), rather than after the last message. */
  readonly addGenerationPrompt?: boolean;
}

export type RenderChat = (messages: readonly ChatMessage[], options?: ChatOptions) => string;

/**
 * Compiles a checkpoint's chat template (Jinja). As in `transformers`, a chat_template.jinja goes before the one in
 * tokenizer_config.json, and among several named ones `tool_use` serves requests with tools, `default` all others.
 */
export function chatRenderer({ config, chatTemplate }: TokenizerFiles): RenderChat {
  const { file } = chatTemplate;
  const source = chatTemplate.source ?? [];
  const named = typeof source === 'string' ? [{ name: 'default', template: source }] : source;
  const templates = new Map(named.map(({ name, template }) => [name, compile(template, file)]));
  const tokens = Object.fromEntries(
    (['bos_token', 'eos_token', 'unk_token', 'pad_token'] as const).map((name) => [name, config[name] ?? '']),
  );

  return (messages, { tools, addGenerationPrompt = true } = {}) => {
    const withTools = tools !== undefined && tools.length > 0;
    const template = (withTools ? templates.get('tool_use') : undefined) ?? templates.get('default');
    if (!template) {
      throw new RequestError(
        'invalid_request',
        'this model has no chat template; send the prompt as text to /v1/completions',
        'messages',
      );
    }
    try {
      return template.render({
        ...tokens,
        messages,
        ...(withTools && { tools }),
        add_generation_prompt: addGenerationPrompt,
      });
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new RequestError(
        'invalid_value',
        `the model's chat template refuses these messages: ${reason}`,
        'messages',
      );
    }
  };
}

function compile(template: string, file: string): Template {
  try {
    return new Template(template);
  } catch (error) {
    throw new CheckpointError(
      'unsupported_checkpoint',
      `${file}: chat_template does not parse: ${String(error)}`,
      {
        file,
        field: 'chat_template',
      },
    );
  }
}
