import { RequestError } from '@baton/errors';
import type { ChatMessage, ToolCallFormat } from '@baton/hymba/tokenizer';
import type { Item } from '../api/items.ts';
import { isTooDeep } from '../api/nesting.ts';
import type { ServedModel } from '../served-model.ts';

/** A message as the chat template gets it. */
export interface TurnMessage extends ChatMessage {
  readonly content: string;
}

/** One function call of an assistant. `arguments` is JSON. */
export interface Call {
  readonly call_id: string;
  readonly name: string;
  readonly arguments: string;
}

/** Throws `RequestError` at `param` where the model's chat template has no place for tools, their calls and results. */
export function requireToolCalls({ tokenizer }: ServedModel, param: string): ToolCallFormat {
  if (tokenizer.toolCalls) return tokenizer.toolCalls;
  throw new RequestError(
    'unsupported_parameter',
    `'${param}': this model has no tools, since its chat template has no place for them`,
    param,
  );
}

/** An assistant's message with its calls, in the form that its chat template reads or writes. */
export function callingMessage(
  content: string,
  calls: readonly Call[],
  { open, close, writesCalls }: ToolCallFormat,
): TurnMessage {
  const role = 'assistant';
  const called = calls.map(({ name, arguments: args }) => ({ name, arguments: parsed(args) }));
  if (writesCalls) {
    const tool_calls = called.map((fn, i) => ({ id: calls[i]?.call_id, type: 'function', function: fn }));
    return { role, content, tool_calls };
  }
  const written = called.map((fn) => `${open} ${JSON.stringify(fn)} ${close}`);
  return { role, content: [...(content === '' ? [] : [content]), ...written].join('\n') };
}

/** A tool's answer. */
export function resultMessage(callId: string, content: string): TurnMessage {
  return { role: 'tool', content, tool_call_id: callId };
}

/**
 * Items as messages for the model's chat template: calls join the assistant's message before them. Throws as
 * `requireToolCalls`, with `param` of the item.
 */
export function turnMessages(
  items: readonly Item[],
  model: ServedModel,
  param: (index: number) => string,
): TurnMessage[] {
  const messages: TurnMessage[] = [];
  for (let i = 0; i < items.length; i++) {
    const item = items[i];
    if (item === undefined) break;
    if (item.type === 'function_call_output') {
      requireToolCalls(model, param(i));
      messages.push(resultMessage(item.call_id, item.output));
      continue;
    }
    const saying = item.type === 'message';
    const calls = callsFrom(items, saying ? i + 1 : i);
    if (saying && (item.role !== 'assistant' || calls.length === 0)) {
      messages.push({ role: item.role, content: item.content });
      continue;
    }
    const format = requireToolCalls(model, param(saying ? i + 1 : i));
    messages.push(callingMessage(saying ? item.content : '', calls, format));
    i += saying ? calls.length : calls.length - 1;
  }
  return messages;
}

function callsFrom(items: readonly Item[], from: number): Call[] {
  const calls: Call[] = [];
  for (let i = from; i < items.length; i++) {
    const item = items[i];
    if (item?.type !== 'function_call') break;
    calls.push(item);
  }
  return calls;
}

/** Arguments as an object, which is what templates expect; text that is no JSON, or too deep to be written again, stays text. */
function parsed(args: string): unknown {
  try {
    const value: unknown = JSON.parse(args);
    return isTooDeep(value) ? args : value;
  } catch {
    return args;
  }
}
