import type { TokenLog } from '@baton/log';
import type { LogState } from '@baton/protocol';
import type OpenAI from 'openai';
import { expect } from 'vitest';
import type { ServiceProcess } from './processes.ts';
import type { System } from './system.ts';

export interface StreamedResponse {
  readonly id: string;
  readonly text: string;
  readonly state: LogState;
  /** Milliseconds between two deltas, at most. */
  readonly longestPause: number;
}

/**
 * Streams one response; `disturb` is called once, after `after` deltas. The client's events are checked to be the log's, each
 * once and in order.
 */
export async function streamResponse(
  openai: OpenAI,
  log: TokenLog,
  body: object,
  disturbance?: { readonly after: number; readonly disturb: (id: string) => unknown },
): Promise<StreamedResponse> {
  let [id, text, deltas, longestPause] = ['', '', 0, 0];
  let last = performance.now();
  const numbers: number[] = [];
  const events = await openai.responses.create({
    model: 'hymba-tiny-stories',
    ...body,
    stream: true,
  } as OpenAI.Responses.ResponseCreateParamsStreaming);
  for await (const event of events) {
    numbers.push(event.sequence_number);
    if (event.type === 'response.created') id = event.response.id;
    if (event.type === 'response.failed') throw new Error(event.response.error?.message);
    if (event.type !== 'response.output_text.delta') continue;
    text += event.delta;
    if (deltas > 0) longestPause = Math.max(longestPause, performance.now() - last);
    last = performance.now();
    if (++deltas === disturbance?.after) await disturbance.disturb(id);
  }
  expect(numbers).toEqual(numbers.map((_, i) => i));
  const state = await log.read(id);
  expect(state?.text).toBe(text);
  if (!state?.terminal) throw new Error(`${id} has no end`);
  return { id, text, state, longestPause };
}

/** The process that runs a generation now. */
export async function ownerOf(system: System, log: TokenLog, id: string): Promise<ServiceProcess> {
  const owner = (await log.read(id))?.owner;
  const worker = system.workers.find((_, i) => owner === `worker-${i + 1}`);
  if (!worker) throw new Error(`nobody runs ${id}`);
  return worker;
}
