import { setTimeout as sleep } from 'node:timers/promises';
import { TokenLog } from '@baton/log';
import OpenAI from 'openai';
import WebSocket from 'ws';
import type { ServiceProcess } from '../support/processes.ts';
import { ownerOf } from '../support/streamed-response.ts';
import type { System } from '../support/system.ts';

const model = 'hymba-tiny-stories';
const topics = ['a boat', 'a bear', 'the sea', 'a red ball', 'two friends', 'a small dog'];

export interface Workload {
  /** What was done to the system, and when (milliseconds since the Unix epoch). */
  readonly disturbances: { readonly at: number; readonly what: string }[];
  readonly killedAt: number;
}

/**
 * Conversations, short answers, WebSockets and mistakes for `seconds`, while workers are killed and drained. One stream, in
 * trace `traceparent`, loses its worker in its middle.
 */
export async function runWorkload(
  system: System,
  { seconds, traceparent, onWorker }: { seconds: number; traceparent: string; onWorker: () => Promise<void> },
): Promise<Workload> {
  const openai = new OpenAI({ baseURL: `${system.url}/v1`, apiKey: 'none', maxRetries: 2 });
  const log = await TokenLog.open(system.natsUrl, {}, { readOnly: true });
  const disturbances: Workload['disturbances'] = [];
  const end = performance.now() + seconds * 1000;
  const running = () => performance.now() < end;
  const note = (what: string) => disturbances.push({ at: Date.now(), what });
  let killedAt = 0;

  async function conversation(client: number): Promise<void> {
    for (let turn = 0, previous: string | undefined; running(); turn++) {
      const response = await openai.responses.create({
        model,
        input:
          turn % 3 === 0 ? `Tell me a story about ${topics[(client + turn) % topics.length]}.` : 'And then?',
        max_output_tokens: 60 + ((client * 37 + turn * 53) % 120),
        ...(previous !== undefined && turn % 3 !== 0 && { previous_response_id: previous }),
      });
      previous = response.id;
      if (turn % 5 === 4) {
        await (await fetch(`${system.url}/v1/responses/${previous}?stream=true&starting_after=5`)).text();
      }
      await sleep(100 + ((client * 211 + turn * 97) % 900));
    }
  }
  async function mistakes(): Promise<void> {
    for (let i = 0; running(); i++) {
      const wrong = i % 3 === 0 ? { model: 'another', input: 'x' } : { model, input: 'x', nonsense: 1 };
      await openai.responses
        .create(wrong as OpenAI.Responses.ResponseCreateParamsNonStreaming)
        .catch(() => {});
      await sleep(1500);
    }
  }
  async function socket(): Promise<void> {
    const client = new WebSocket(`${system.url.replace('http', 'ws')}/v1/responses`);
    await new Promise((resolve) => client.once('open', resolve));
    const input = 'Tell me a story about the sea.';
    for (; running(); await sleep(2000)) {
      client.send(JSON.stringify({ type: 'response.create', model, input, max_output_tokens: 40 }));
    }
    client.close();
  }
  async function traced(): Promise<void> {
    const events = await openai.responses.create(
      {
        model,
        input: 'Tell me a long story about a boat and a bear.',
        stream: true,
        max_output_tokens: 700,
        ignore_eos: true,
      } as OpenAI.Responses.ResponseCreateParamsStreaming,
      { headers: { traceparent } },
    );
    let [id, deltas] = ['', 0];
    for await (const event of events) {
      if (event.type === 'response.created') id = event.response.id;
      if (event.type !== 'response.output_text.delta' || ++deltas !== 150) continue;
      const owner = await ownerOf(system, log, id);
      killedAt = Date.now();
      note('worker killed');
      await owner.end('SIGKILL');
    }
    await system.addWorker();
    await onWorker();
  }
  async function burst(): Promise<void> {
    note('burst of requests');
    const short = { model, input: 'Tell me a story about a boat.', max_output_tokens: 120 };
    await Promise.allSettled(Array.from({ length: 24 }, () => openai.responses.create(short)));
  }
  /** A worker that runs several generations, once there is one. */
  async function busy(): Promise<ServiceProcess> {
    for (;;) {
      const answer = await fetch(`${system.url}/admin/workers`);
      const { data } = (await answer.json()) as { data: { id: string; generations: unknown[] }[] };
      const ids = data.filter(({ generations }) => generations.length > 1).map(({ id }) => id);
      const found = system.workers.find(({ alive, id }) => alive && ids.includes(id));
      if (found) return found;
      await sleep(20);
    }
  }
  async function drain(): Promise<void> {
    const worker = await busy();
    note('worker drained');
    await worker.end('SIGTERM');
    await system.addWorker();
    await onWorker();
  }
  async function disturb(): Promise<void> {
    await sleep(0.25 * seconds * 1000);
    await traced();
    await sleep(0.15 * seconds * 1000);
    await burst();
    await sleep(0.1 * seconds * 1000);
    await drain();
  }

  const clients = Array.from({ length: 5 }, (_, i) => conversation(i));
  await Promise.all([...clients, mistakes(), socket(), disturb()]);
  await log.close();
  return { disturbances, killedAt };
}
