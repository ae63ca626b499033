import {
  applyEntry,
  emptyLogState,
  type GenerationJob,
  type LogEntry,
  type TokenLogprob,
} from '@baton/protocol';
import { renderLogprob, type TokenNames } from './logprobs.ts';
import {
  outputItemId,
  outputMessage,
  outputText,
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
  const place = { item_id: outputItemId(responseId), output_index: 0, content_index: 0 };
  let sequenceNumber = 0;
  /** Of tokens whose text is still held back. */
  let pendingLogprobs: TokenLogprob[] = [];

  const event = (type: string, fields: Record<string, unknown>): ResponseEvent => ({
    type,
    sequence_number: sequenceNumber++,
    ...fields,
  });

  function itemAdded(): ResponseEvent[] {
    const item = { ...outputMessage(state, 'in_progress', names), content: [] };
    const part = outputText(state, names);
    return [
      event('response.output_item.added', { output_index: 0, item }),
      event('response.content_part.added', { ...place, part }),
    ];
  }

  function itemDone(job: GenerationJob): ResponseEvent[] {
    const part = outputText(state, names);
    const item = outputMessage(state, responseStatus(state, readResponseEcho(job)), names);
    return [
      event('response.output_text.done', { ...place, text: part.text, logprobs: part.logprobs }),
      event('response.content_part.done', { ...place, part }),
      event('response.output_item.done', { output_index: 0, item }),
    ];
  }

  return (entry: LogEntry): ResponseEvent[] => {
    applyEntry(state, entry);
    const { job } = state;
    if (job === null) return [];
    const response = () => ({ response: responseObject(state, job, names) });
    const { generate } = readResponseEcho(job);
    switch (entry.kind) {
      case 'queued':
        return [event('response.created', response()), event('response.queued', response())];
      case 'claimed':
        // A later claim is a failover, of which the client sees nothing.
        if (entry.epoch > 1) return [];
        return [event('response.in_progress', response()), ...(generate ? itemAdded() : [])];
      case 'tokens': {
        pendingLogprobs.push(...(entry.logprobs ?? []));
        if (entry.text === '') return [];
        const logprobs = pendingLogprobs.map((logprob) => renderLogprob(logprob, names));
        pendingLogprobs = [];
        return [event('response.output_text.delta', { ...place, delta: entry.text, logprobs })];
      }
      case 'finish':
        return [
          ...(generate ? itemDone(job) : []),
          event(terminalType(responseStatus(state, readResponseEcho(job))), response()),
        ];
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
