import type { LogState } from '@baton/protocol';
import type { Item } from '../api/items.ts';
import { type RenderedLogprob, renderLogprob, type TokenNames } from './logprobs.ts';
import { type OutputPart, parseOutput, type ToolCallRules } from './output-parser.ts';

export interface OutputText {
  readonly type: 'output_text';
  readonly text: string;
  readonly annotations: [];
  readonly logprobs: RenderedLogprob[];
}

export interface OutputMessage {
  readonly id: string;
  readonly type: 'message';
  readonly role: 'assistant';
  readonly status: 'in_progress' | 'completed' | 'incomplete';
  readonly content: OutputText[];
}

export interface OutputCall {
  readonly id: string;
  readonly type: 'function_call';
  readonly call_id: string;
  readonly name: string;
  readonly arguments: string;
  readonly status: 'in_progress' | 'completed';
}

export type OutputItem = OutputMessage | OutputCall;

/** The id of a response's output item names the response; the first message's is the plainest. */
export function outputItemId(responseId: string, index: number, type: 'message' | 'function_call'): string {
  const hex = responseId.replace(/^resp_/, '');
  if (type === 'function_call') return `fc_${hex}_${index}`;
  return index === 0 ? `msg_${hex}` : `msg_${hex}_${index}`;
}

/** What a client names a call by when it sends the result. */
export function callId(generationId: string, index: number): string {
  return `call_${generationId.replace(/^[a-z]+_/, '')}_${index}`;
}

/** Messages begin with every token's log-probability where the request asked for them, of calls as well. */
export function outputText(text: string, index: number, state: LogState, names: TokenNames): OutputText {
  const logprobs = index === 0 ? state.tokenLogprobs.map((entry) => renderLogprob(entry, names)) : [];
  return { type: 'output_text', text, annotations: [], logprobs };
}

export function outputCall(
  responseId: string,
  index: number,
  { name, arguments: args }: Extract<OutputPart, { kind: 'call' }>,
): OutputCall {
  return {
    id: outputItemId(responseId, index, 'function_call'),
    type: 'function_call',
    call_id: callId(responseId, index),
    name,
    arguments: args,
    status: 'completed',
  };
}

/** A response's output so far: what is said and what is called, in order. `status` is that of the last message. */
export function outputItems(
  state: LogState,
  rules: ToolCallRules | null,
  status: OutputMessage['status'],
  names: TokenNames,
): OutputItem[] {
  const { generationId: id } = state;
  return outputParts(state, rules).map((part, index, { length }): OutputItem => {
    if (part.kind === 'call') return outputCall(id, index, part);
    return {
      id: outputItemId(id, index, 'message'),
      type: 'message',
      role: 'assistant',
      status: index === length - 1 ? status : 'completed',
      content: [outputText(part.text, index, state, names)],
    };
  });
}

/** The output as items of the turns to come. */
export function itemsOfOutput(state: LogState, rules: ToolCallRules | null): Item[] {
  return outputParts(state, rules).map((part, index) =>
    part.kind === 'text'
      ? { type: 'message', role: 'assistant', content: part.text }
      : {
          type: 'function_call',
          call_id: callId(state.generationId, index),
          name: part.name,
          arguments: part.arguments,
        },
  );
}

/** An output without a word is an empty message. */
function outputParts(state: LogState, rules: ToolCallRules | null): OutputPart[] {
  const parts = parseOutput(state.text, rules, state.terminal !== null);
  return parts.length === 0 ? [{ kind: 'text', text: '' }] : parts;
}
