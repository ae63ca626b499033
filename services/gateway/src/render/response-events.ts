import {
  applyEntry,
  emptyLogState,
  type GenerationJob,
  type LogEntry,
  type TokenLogprob,
} from '@baton/protocol';
import { renderLogprob, type TokenNames } from './logprobs.ts';
import { type OutputMessage, outputCall, outputItemId, outputText } from './output-items.ts';
import { OutputParser, type OutputPart } from './output-parser.ts';
import {
  itemStatus,
  type ResponseEcho,
  readResponseEcho,
  responseObject,
  responseStatus,
} from './response-object.ts';

/** An event of the OpenAI Responses API, ready to be sent. `sequence_number` is the client's cursor. */
export interface ResponseEvent {
  readonly type: string;
  readonly sequence_number: number;
  readonly [field: string]: unknown;
}

/**
 * The fold from a response's log entries to its events. Events are numbered contiguously from 0 and depend on the log
 * alone, so any gateway, at any time, numbers and words them the same.
 */
export function responseEvents(responseId: string, names: TokenNames) {
  const state = emptyLogState(responseId);
  let sequenceNumber = 0;
  let parser = new OutputParser(null);
  /** Index of the next output item. */
  let next = 0;
  /** The text of the message that is being written; null between items. */
  let said: string | null = null;
  let echo: ResponseEcho | null = null;
  /** Of tokens whose text is still held back. */
  let pendingLogprobs: TokenLogprob[] = [];

  const event = (type: string, fields: Record<string, unknown>): ResponseEvent => ({
    type,
    sequence_number: sequenceNumber++,
    ...fields,
  });
  const itemId = () => outputItemId(responseId, next, 'message');
  const place = () => ({ item_id: itemId(), output_index: next, content_index: 0 });
  const message = (status: OutputMessage['status'], content: OutputMessage['content']): OutputMessage => ({
    id: itemId(),
    type: 'message',
    role: 'assistant',
    status,
    content,
  });

  function openMessage(): ResponseEvent[] {
    said = '';
    return [
      event('response.output_item.added', { output_index: next, item: message('in_progress', []) }),
      event('response.content_part.added', { ...place(), part: { ...outputText('', 1, state, names) } }),
    ];
  }

  function closeMessage(status: OutputMessage['status']): ResponseEvent[] {
    const part = outputText(said ?? '', next, state, names);
    const events = [
      event('response.output_text.done', { ...place(), text: part.text, logprobs: part.logprobs }),
      event('response.content_part.done', { ...place(), part }),
      event('response.output_item.done', { output_index: next, item: message(status, [part]) }),
    ];
    said = null;
    next++;
    return events;
  }

  function say(text: string): ResponseEvent[] {
    const opened = said === null ? openMessage() : [];
    said += text;
    const logprobs = pendingLogprobs.map((logprob) => renderLogprob(logprob, names));
    pendingLogprobs = [];
    return [...opened, event('response.output_text.delta', { ...place(), delta: text, logprobs })];
  }

  function callFunction(part: Extract<OutputPart, { kind: 'call' }>): ResponseEvent[] {
    const closed = said === null ? [] : closeMessage('completed');
    const item = outputCall(responseId, next, part);
    const where = { item_id: item.id, output_index: next };
    const { name, arguments: args } = item;
    const events = [
      event('response.output_item.added', {
        output_index: next,
        item: { ...item, arguments: '', status: 'in_progress' },
      }),
      event('response.function_call_arguments.delta', { ...where, delta: args }),
      event('response.function_call_arguments.done', { ...where, name, arguments: args }),
      event('response.output_item.done', { output_index: next, item }),
    ];
    next++;
    return [...closed, ...events];
  }

  const write = (parts: readonly OutputPart[]) =>
    parts.flatMap((part) => (part.kind === 'text' ? say(part.text) : callFunction(part)));

  /** An output without a word is an empty message. */
  function finishOutput(job: GenerationJob): ResponseEvent[] {
    const events = write(parser.end());
    if (said === null && next === 0) events.push(...openMessage());
    if (said !== null) events.push(...closeMessage(itemStatus(responseStatus(state, readResponseEcho(job)))));
    return events;
  }

  return (entry: LogEntry): ResponseEvent[] => {
    applyEntry(state, entry);
    const { job } = state;
    if (job === null) return [];
    const response = () => ({ response: responseObject(state, job, names) });
    // Once for the whole log: it is checked field by field, which would cost more than the rest of a token's event.
    echo ??= readResponseEcho(job);
    const { generate, tool_calls } = echo;
    switch (entry.kind) {
      case 'queued':
        parser = new OutputParser(tool_calls);
        return [event('response.created', response()), event('response.queued', response())];
      case 'claimed':
        // A later claim is a failover, of which the client sees nothing.
        if (entry.epoch > 1) return [];
        // Where the output may turn out to be a call, its first item waits for the first word.
        return [
          event('response.in_progress', response()),
          ...(generate && tool_calls === null ? openMessage() : []),
        ];
      case 'tokens':
        pendingLogprobs.push(...(entry.logprobs ?? []));
        return write(parser.push(entry.text));
      case 'finish': {
        const output = generate ? finishOutput(job) : [];
        return [...output, event(terminalType(responseStatus(state, readResponseEcho(job))), response())];
      }
      case 'error':
        return [event('response.failed', response())];
      default:
        return [];
    }
  };
}

/** There is no event for `cancelled`: the response ends as an incomplete one does, and its status tells. */
function terminalType(status: string): string {
  return status === 'completed' ? 'response.completed' : 'response.incomplete';
}
