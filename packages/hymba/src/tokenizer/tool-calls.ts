import { randomUUID } from 'node:crypto';
import { RequestError } from '@baton/errors';
import type { ChatMessage, RenderChat } from './chat-template.ts';

/** How a checkpoint has tools called: its model writes a JSON object with `name` and `arguments` between two tags. */
export interface ToolCallFormat {
  readonly open: string;
  readonly close: string;
  /** Whether the chat template writes an assistant's earlier `tool_calls` itself, rather than its `content` alone. */
  readonly writesCalls: boolean;
}

const question: ChatMessage = { role: 'user', content: '.' };

/**
 * Finds out, by trying, whether a chat template has a place for tools and for their results; null where it has not. The
 * tags are those that it writes around an earlier call, else those of the released Hymba models.
 */
export function toolCallFormat(render: RenderChat): ToolCallFormat | null {
  const mark = randomUUID();
  /** What the template makes of messages that hold the mark; null where the mark is lost, or it refuses them. */
  const tried = (messages: readonly ChatMessage[], tools: readonly unknown[]): string | null => {
    try {
      const text = render(messages, { tools });
      return text.includes(mark) ? text : null;
    } catch (error) {
      if (error instanceof RequestError) return null;
      throw error;
    }
  };
  const tool = (name: string) => ({
    type: 'function',
    function: { name, description: '', parameters: { type: 'object', properties: {} } },
  });
  const tools = [tool('f')];
  const asked = (name: string) => {
    const call = { id: 'call_1', type: 'function', function: { name, arguments: {} } };
    return [question, { role: 'assistant', content: '', tool_calls: [call] }];
  };
  const result = { role: 'tool', content: mark, name: 'f', tool_call_id: 'call_1' };
  if (tried([question], [tool(mark)]) === null) return null;
  if (tried([...asked('f'), result], tools) === null) return null;

  const written = tried(asked(mark), tools);
  const tag = written?.match(/<(tool_?call)>\s*[[{]/)?.[1] ?? 'toolcall';
  return { open: `<${tag}>`, close: `</${tag}>`, writesCalls: written !== null };
}
