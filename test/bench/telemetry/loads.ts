import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { TokenLog } from '@baton/log';
import { type System, type SystemOptions, startSystem } from '../../support/system.ts';

const model = 'hymba-tiny-stories';
const streams = 4;
const tokens = 200;
const atOnce = 32;
/** Of the scripted engine: so little that the gateway is what an answer waits for. */
const stepMs = 1;

/** So many tokens or requests in so much time. */
export interface Done {
  readonly units: number;
  readonly seconds: number;
}

/** A system under load, and the process of it whose time is taken. */
export interface Target {
  readonly system: System;
  readonly process: ChildProcess;
  stop(): Promise<void>;
}

export const loads = {
  decode: { start: startDecoding, run: decodeLoad },
  /** Answers as short as to make a request cost more than its tokens. */
  short: { start: startAnswering, run: answers({ requests: 128, tokens: 8 }) },
  /** Answers of some sentences, such as most are. */
  long: { start: startAnswering, run: answers({ requests: 64, tokens: 128 }) },
};
export type Load = keyof typeof loads;
export const loadNames = ['decode', 'long', 'short'] as const satisfies Load[];

async function startDecoding(options: SystemOptions): Promise<Target> {
  const system = await startSystem(options);
  const [worker] = system.workers;
  if (!worker) throw new Error('the system has no worker');
  return { system, process: worker.child, stop: () => system.stop() };
}

/** A gateway whose workers have a scripted engine, so that it has as much to do as it can. */
async function startAnswering(options: SystemOptions): Promise<Target> {
  const system = await startSystem({
    ...options,
    workers: 0,
    env: { ...options.env, BATON_QUEUE_LIMIT: '100000', BATON_TENANT_GENERATIONS: '100000' },
  });
  const order = [atOnce, stepMs, 1].map(String);
  const file = fileURLToPath(new URL('../gateway/processes/workers.ts', import.meta.url));
  const workers = fork(file, [system.redisUrl, system.natsUrl, ...order]);
  await once(workers, 'message');
  const stop = async () => {
    workers.kill('SIGKILL');
    await system.stop();
  };
  return { system, process: system.gateway.child, stop };
}

/** Four streams that one worker decodes together, with nobody but this log reader following: from the first token to the last. */
async function decodeLoad(system: System): Promise<Done> {
  const log = await TokenLog.open(system.natsUrl);
  try {
    const ids = await Promise.all(
      Array.from({ length: streams }, (_, i) =>
        post(system, {
          input: `Tell me story ${i}.`,
          max_output_tokens: tokens,
          ignore_eos: true,
          background: true,
        }),
      ),
    );
    let [first, last] = [Number.POSITIVE_INFINITY, 0];
    await Promise.all(
      ids.map(async (id) => {
        const feed = await log.subscribe(id);
        for await (const entry of feed.entries()) {
          if (entry.kind !== 'tokens') continue;
          first = Math.min(first, performance.now());
          last = performance.now();
        }
      }),
    );
    return { units: streams * tokens, seconds: (last - first) / 1000 };
  } finally {
    await log.close();
  }
}

/** Answers as server-sent events, 32 at a time. */
function answers({ requests, tokens }: { requests: number; tokens: number }) {
  return async (system: System): Promise<Done> => {
    const start = performance.now();
    let left = requests;
    await Promise.all(
      Array.from({ length: atOnce }, async () => {
        while (left-- > 0) {
          await post(system, {
            input: 'Tell me a story.',
            max_output_tokens: tokens,
            ignore_eos: true,
            stream: true,
          });
        }
      }),
    );
    return { units: requests, seconds: (performance.now() - start) / 1000 };
  };
}

async function post(system: System, body: object): Promise<string> {
  const answer = await fetch(`${system.url}/v1/responses`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model, temperature: 0, ...body }),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${answer.status}: ${text}`);
  return /"id":"(resp_[0-9a-f]+)"/.exec(text)?.[1] ?? '';
}

/** Processor time of a process up to now in ms (utime and stime of proc(5), in ticks of 10 ms). */
export function processorMs({ pid }: { readonly pid?: number | undefined }): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return 10 * (Number(fields[11]) + Number(fields[12]));
}
