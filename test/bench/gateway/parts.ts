import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { ScriptedEngine } from '@baton/engine/testing';
import { exampleJob } from '@baton/protocol/testing';
import { OthersLoad } from '../engine/machine/others-load.ts';
import { quantile } from '../engine/report/statistics.ts';
import type { Cell } from '../engine/report/table.ts';
import { type Bench, type Clients, startBench } from './system.ts';

export type Row = Readonly<Record<string, Cell>>;

export interface PartOptions {
  /** How long streams run. */
  readonly seconds: number;
  readonly profileDir?: string | undefined;
}

/** What lies between an entry's coming over NATS and its frame's coming over the WebSocket, both in one process. */
export async function* latency(options: PartOptions): AsyncGenerator<Row> {
  const row = await runStreams({ ...options, streams: 200, rate: 20, echo: true });
  yield { ...row, goal: 'p50 ≤ 2, p99 ≤ 15' };
}

/** Many streams at once, without the echo, which would take time of its own from the other core. */
export async function* throughput(options: PartOptions): AsyncGenerator<Row> {
  for (const [rate, together] of [
    [20, 1],
    [40, 1],
    [40, 2],
    [40, 4],
  ] as const) {
    const row = await runStreams({ ...options, streams: 500, rate, together, echo: false });
    yield { ...row, goal: '≥ 10,000' };
  }
}

interface Load extends PartOptions {
  readonly streams: number;
  /** Tokens per second of each. */
  readonly rate: number;
  /** Tokens that an engine samples at once: with several, what surrounds the gateway takes less of the machine for each. */
  readonly together?: number;
  readonly echo: boolean;
}

const spreadMs = 2000;
/** How long streams run beside the time that is measured: until the last of them have begun, too. */
const extraSeconds = 12;

async function runStreams({ seconds, profileDir, streams, rate, together = 1, echo }: Load): Promise<Row> {
  const bench = await startBench({ streams, stepMs: 1000 / rate, together, profileDir });
  try {
    const tokens = Math.round((seconds + extraSeconds) * rate);
    const memoryBefore = bench.gateway.memoryMB;
    const clients = await bench.clients({ sockets: streams, streams, tokens, spreadMs, echo });
    const askedAt = performance.now();
    while ((await clients.delivered()).begun < streams) await sleep(100);
    const before = await reading(bench, clients);
    const load = new OthersLoad();
    await sleep(seconds * 1000);
    const after = await reading(bench, clients);
    const allCores = (load.percent() / 100) * availableParallelism();
    const memoryMB = bench.gateway.memoryMB;
    const report = await clients.report;
    const elapsed = (after.at - before.at) / 1000;
    const tokensPerSecond = (after.tokens - before.tokens) / elapsed;
    const cores = Object.keys(after.cpu).map((name): [string, number] => [
      `${name} cores`,
      ((after.cpu[name] ?? 0) - (before.cpu[name] ?? 0)) / elapsed,
    ]);
    const ours = cores.reduce((sum, [, share]) => sum + share, 0);
    await clients.end();
    return {
      streams,
      'tokens/s each': rate,
      'tokens at once': together,
      'tokens/s in all': tokensPerSecond,
      'frames/s': (after.frames - before.frames) / elapsed,
      'tokens/s per gateway core': tokensPerSecond / (Object.fromEntries(cores)['gateway cores'] ?? 0),
      ...(echo && {
        'added ms p50': quantile(report.addedMs, 0.5),
        p95: quantile(report.addedMs, 0.95),
        p99: quantile(report.addedMs, 0.99),
      }),
      ...Object.fromEntries(cores),
      "others' cores": Math.max(0, allCores - ours),
      'all begun after s': (before.at - askedAt) / 1000,
      'kB a stream': ((memoryMB - memoryBefore) * 1000) / streams,
      'whole responses': report.whole,
    };
  } finally {
    await bench.stop();
  }
}

/** What was delivered and what each process took for it, up to now. */
async function reading(bench: Bench, clients: Clients) {
  const meters = { gateway: bench.gateway, clients: clients.meter, ...bench.others };
  const cpu: Record<string, number> = {};
  for (const [name, meter] of Object.entries(meters)) cpu[name] = meter.cpuSeconds;
  return { at: performance.now(), cpu, ...(await clients.delivered()) };
}

/** One request after the other on an idle system, and the engine asked directly. */
export async function* ttft(): AsyncGenerator<Row> {
  const stepMs = 20;
  const requests = 100;
  const alone = await engineTtft(stepMs, requests);
  const bench = await startBench({ streams: 8, stepMs });
  try {
    const clients = await bench.clients({
      sockets: requests,
      streams: requests,
      tokens: 2,
      spreadMs: requests * 200,
      echo: false,
    });
    const { ttftMs: all } = await clients.report;
    await clients.end();
    yield {
      requests,
      'engine alone, ms p50': quantile(alone, 0.5),
      'at the client, ms p50': quantile(all, 0.5),
      p99: quantile(all, 0.99),
      'overhead ms p50': quantile(all, 0.5) - quantile(alone, 0.5),
    };
  } finally {
    await bench.stop();
  }
}

async function engineTtft(stepMs: number, requests: number): Promise<number[]> {
  const engine = new ScriptedEngine({ stepMs });
  const times: number[] = [];
  for (let i = 0; i < requests; i++) {
    const { id, tenant, prompt, sampling } = exampleJob({ sampling: { max_tokens: 2 } });
    const request = { id, tenant, prompt, sampling, replay: [], replayTextLength: 0, promptLogprobsFrom: 0 };
    const start = performance.now();
    let first: number | null = null;
    for await (const output of engine.generate(request, new AbortController().signal)) {
      if (output.kind === 'tokens') first ??= performance.now() - start;
    }
    if (first !== null) times.push(first);
  }
  await engine.close();
  return times;
}

/** Sockets that are open and say nothing, past their first pings. */
export async function* memory(): AsyncGenerator<Row> {
  const sockets = 5000;
  const bench = await startBench({ streams: 1, stepMs: 50 });
  try {
    const before = bench.gateway.memoryMB;
    const clients = await bench.clients({ sockets, streams: 0, tokens: 0, spreadMs: 0, echo: false });
    await clients.report;
    await sleep(20_000);
    const open = bench.gateway.memoryMB;
    yield {
      'idle WebSockets': sockets,
      'MB without': before,
      'MB with': open,
      'kB each': ((open - before) * 1000) / sockets,
      goal: '≤ 400 MB',
    };
    await clients.end();
  } finally {
    await bench.stop();
  }
}
