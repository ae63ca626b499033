import { TokenLog } from '@baton/log';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type System, startSystem } from '../support/system.ts';

const request = {
  model: 'hymba-tiny-stories',
  input: 'Tell me a long story about a boat and a bear.',
  max_output_tokens: 160,
};
const samplings = { greedy: { temperature: 0 }, 'seeded sampling': { temperature: 0.9, top_k: 40, seed: 7 } };

describe('a worker killed in the middle of a stream', () => {
  let system: System;
  let openai: OpenAI;
  let log: TokenLog;

  beforeAll(async () => {
    system = await startSystem({ workers: 2 });
    openai = new OpenAI({
      baseURL: `${system.url}/v1`,
      apiKey: 'none-needed',
      maxRetries: 0,
      timeout: 60_000,
    });
    log = await TokenLog.open(system.natsUrl);
  });
  afterAll(async () => {
    await log?.close();
    await system?.stop();
  });

  /** Streams one response; after `killAfter` deltas, the worker that owns it gets SIGKILL. */
  async function stream(extra: object, killAfter?: number) {
    let id = '';
    let deltas = 0;
    let text = '';
    const numbers: number[] = [];
    const events = await openai.responses.create({ ...request, ...extra, stream: true });
    for await (const event of events) {
      numbers.push(event.sequence_number);
      if (event.type === 'response.created') id = event.response.id;
      if (event.type !== 'response.output_text.delta') continue;
      text += event.delta;
      if (++deltas === killAfter) await killOwner(id);
    }
    const state = await log.read(id);
    return { text, numbers, state };
  }

  async function killOwner(id: string) {
    let owner = '';
    const feed = await log.subscribe(id);
    for await (const entry of feed.entries()) {
      if (entry.kind === 'claimed') owner = entry.worker;
      if (entry.kind === 'tokens') break;
    }
    const worker = system.workers.find((_, i) => owner === `worker-${i + 1}`);
    if (worker === undefined) throw new Error(`nobody owns ${id}`);
    await worker.end('SIGKILL');
  }

  it.each(Object.entries(samplings))('loses, repeats and changes nothing (%s)', async (_, sampling) => {
    const undisturbed = await stream(sampling);
    expect(undisturbed.state?.epoch).toBe(1);

    const killed = await stream(sampling, 40);
    expect(killed.state?.epoch).toBe(2);
    expect(killed.state?.tokens).toEqual(undisturbed.state?.tokens);
    expect(killed.text).toBe(undisturbed.text);
    expect(killed.numbers).toEqual(killed.numbers.map((_, i) => i));
    await system.addWorker();
  });
});
