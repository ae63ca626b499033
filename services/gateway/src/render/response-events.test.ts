import { loadTokenizer } from '@baton/hymba/tokenizer';
import type { LogEntry } from '@baton/protocol';
import { exampleJob } from '@baton/protocol/testing';
import { describe, expect, it } from 'vitest';
import { LogScript, modelDir } from '../testing/log-script.ts';
import { responseEvents } from './response-events.ts';
import { type ResponseEcho, responseObject } from './response-object.ts';

const names = await loadTokenizer(modelDir);
const echo: ResponseEcho = {
  background: false,
  conversation: null,
  generate: true,
  store: true,
  instructions: 'Be brief.',
  max_output_tokens: 16,
  metadata: { topic: 'greeting' },
  previous_response_id: null,
  input: [{ type: 'message', role: 'user', content: 'Hello' }],
  parallel_tool_calls: true,
  prompt_cache_key: null,
  safety_identifier: null,
  tool_choice: 'auto',
  tool_calls: null,
  tools: [],
  top_logprobs: 0,
  top_p: 1,
  text_format: { type: 'text' },
  user: null,
};
const job = exampleJob({ echo });
const script = (overrides: Partial<ResponseEcho> = {}) =>
  new LogScript({ ...job, echo: { ...echo, ...overrides } });

function render(entries: readonly LogEntry[]) {
  const fold = responseEvents(job.id, names);
  return entries.flatMap(fold);
}

const typesOf = (events: readonly { type: string }[]) => events.map(({ type }) => type);
const beforeText = [
  'response.created',
  'response.queued',
  'response.in_progress',
  'response.output_item.added',
  'response.content_part.added',
];
const afterText = ['response.output_text.done', 'response.content_part.done', 'response.output_item.done'];

describe('responseEvents', () => {
  const log = script()
    .queued()
    .claimed()
    .tokens([77, 450], 'Hell')
    .tokens([116], '')
    .tokens([37], 'o ')
    .finish('stop', 4);
  const events = render(log.entries);

  it('gives the events of a whole response in order, numbered from 0', () => {
    expect(typesOf(events)).toEqual([
      ...beforeText,
      'response.output_text.delta',
      'response.output_text.delta',
      ...afterText,
      'response.completed',
    ]);
    expect(events.map((event) => event.sequence_number)).toEqual(events.map((_, i) => i));
  });

  it('ends with the whole response', () => {
    const item = events.find(({ type }) => type === 'response.output_item.done')?.['item'];
    expect(item).toMatchObject({
      id: job.id.replace('resp_', 'msg_'),
      status: 'completed',
      content: [{ type: 'output_text', text: 'Hello ', annotations: [], logprobs: [] }],
    });
    expect(events.at(-1)?.['response']).toMatchObject({
      id: job.id,
      status: 'completed',
      output: [item],
      instructions: 'Be brief.',
      metadata: { topic: 'greeting' },
      usage: { input_tokens: 3, output_tokens: 4, total_tokens: 7 },
    });
  });

  it('shows a client nothing of a failover', () => {
    const moved = script()
      .queued()
      .claimed()
      .tokens([77, 450], 'Hell')
      .claimed()
      .claimed()
      .tokens([116], '')
      .tokens([37], 'o ')
      .finish('stop', 4);
    expect(render(moved.entries)).toEqual(events);
  });

  it('ends an answer that was cut off as incomplete, and says why', () => {
    const cut = render(script().queued().claimed().tokens([77], 'H').finish('length', 1).entries);
    expect(cut.at(-1)).toMatchObject({
      type: 'response.incomplete',
      response: {
        status: 'incomplete',
        incomplete_details: { reason: 'max_output_tokens' },
        output: [{ status: 'incomplete' }],
      },
    });
  });

  it('ends a cancelled response with what it had said', () => {
    const cancelled = render(
      script().queued().claimed().tokens([77], 'H').cancelRequested().finish('cancelled', 1).entries,
    );
    expect(typesOf(cancelled)).toEqual([
      ...beforeText,
      'response.output_text.delta',
      ...afterText,
      'response.incomplete',
    ]);
    expect(cancelled.at(-1)?.['response']).toMatchObject({
      status: 'cancelled',
      incomplete_details: null,
      output: [{ status: 'incomplete', content: [{ text: 'H' }] }],
    });
  });

  it('ends a failed response with its error', () => {
    const failed = render(script().queued().claimed().tokens([77], 'H').error('gone').entries);
    expect(typesOf(failed)).toEqual([...beforeText, 'response.output_text.delta', 'response.failed']);
    expect(failed.at(-1)?.['response']).toMatchObject({
      status: 'failed',
      error: { code: 'server_error', message: 'gone' },
      usage: null,
      output: [{ status: 'incomplete' }],
    });
  });

  it('warms up without output', () => {
    const warm = render(script({ generate: false }).queued().claimed().finish('length', 0).entries);
    expect(typesOf(warm)).toEqual([
      'response.created',
      'response.queued',
      'response.in_progress',
      'response.completed',
    ]);
    expect(warm.at(-1)?.['response']).toMatchObject({ status: 'completed', output: [] });
  });

  it("sends a token's log-probability with the text that it completed", () => {
    const logprob = (token: number) => ({ token, logprob: -token / 100, top: [] });
    const rendered = render(
      script()
        .queued()
        .claimed()
        .tokens([200], '', [logprob(200)])
        .tokens([174], 'é', [logprob(174)])
        .finish('stop', 2).entries,
    );
    const deltas = rendered.filter(({ type }) => type === 'response.output_text.delta');
    expect(deltas).toMatchObject([
      {
        delta: 'é',
        logprobs: [
          { token: '\uFFFD', bytes: [0xc3], logprob: -2, top_logprobs: [] },
          { token: '\uFFFD', bytes: [0xa9], logprob: -1.74, top_logprobs: [] },
        ],
      },
    ]);
    const done = rendered.find(({ type }) => type === 'response.output_text.done');
    expect(done?.['logprobs']).toEqual(deltas[0]?.['logprobs']);
  });
});

describe('responseObject', () => {
  it.each([
    ['queued', script().queued()],
    ['in_progress', script().queued().claimed()],
    ['in_progress', script().queued().claimed().claimed().tokens([77], 'H')],
    ['completed', script().queued().claimed().finish('stop', 0)],
    ['incomplete', script().queued().claimed().finish('length', 0)],
    ['cancelled', script().queued().claimed().finish('cancelled', 0)],
    ['failed', script().queued().error('no worker')],
  ] as const)('is %s', (status, log) => {
    expect(responseObject(log.state, job, names).status).toBe(status);
  });
});
