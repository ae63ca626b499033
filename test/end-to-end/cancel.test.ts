import { TokenLog } from '@baton/log';
import type { LogEntry } from '@baton/protocol';
import OpenAI from 'openai';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type System, startSystem } from '../support/system.ts';

const model = 'hymba-tiny-stories';
let system: System;
let openai: OpenAI;
let log: TokenLog;
beforeAll(async () => {
  system = await startSystem({ env: { BATON_SLOTS: '1' } });
  openai = new OpenAI({ baseURL: `${system.url}/v1`, apiKey: 'none-needed', maxRetries: 0 });
  log = await TokenLog.open(system.natsUrl);
});
afterAll(async () => {
  await log?.close();
  await system?.stop();
});

const endless = {
  model,
  input: 'Tell me a story.',
  max_output_tokens: 1500,
  ignore_eos: true,
  background: true,
} as OpenAI.Responses.ResponseCreateParamsNonStreaming;

it('frees the only slot within a decode step, also of a resumed stream; and what waits for it ends at once', async () => {
  const running = await openai.responses.create(endless);
  const waiting = await openai.responses.create(endless);
  const next = openai.responses.create({ model, input: 'Hi', max_output_tokens: 4 });
  let after = 0;
  for await (const event of await openai.responses.retrieve(running.id, { stream: true })) {
    after = event.sequence_number;
    if (event.type === 'response.output_text.delta') break;
  }
  expect(await openai.responses.cancel(waiting.id)).toMatchObject({ status: 'cancelled' });
  const resumed = await openai.responses.retrieve(running.id, { stream: true, starting_after: after });
  let last: OpenAI.Responses.ResponseStreamEvent | undefined;
  let deltas = 0;
  for await (const event of resumed) {
    if (event.type === 'response.output_text.delta' && ++deltas === 3)
      await openai.responses.cancel(running.id);
    last = event;
  }
  expect(last).toMatchObject({ type: 'response.incomplete', response: { status: 'cancelled' } });
  expect((await next).output_text.length).toBeGreaterThan(0);

  // The append that met the cancel, what was sampled during it, and no more: the log tells which came first.
  const { entries, cancelledAt } = await entriesOf(running.id);
  const late = entries.slice(cancelledAt + 1).map(({ kind }) => kind);
  expect(late.at(-1)).toBe('finish');
  expect(late.length - 1).toBeLessThanOrEqual(2);
});

async function entriesOf(id: string) {
  const feed = await log.subscribe(id);
  const entries: LogEntry[] = [];
  for await (const entry of feed.entries()) entries.push(entry);
  return { entries, cancelledAt: entries.findIndex(({ kind }) => kind === 'cancel_requested') };
}
