import { setTimeout as sleep } from 'node:timers/promises';
import { ScriptedEngine } from '@baton/engine/testing';
import { exampleJob } from '@baton/protocol/testing';
import { quantile } from '../engine/report/statistics.ts';
import type { Cell } from '../engine/report/table.ts';
import { startBench } from './system.ts';

export type Row = Readonly<Record<string, Cell>>;

export interface PartOptions {
  /** How long streams run. */
  readonly seconds: number;
  readonly profileDir?: string | undefined;
}

/** What lies between an entry's coming over NATS and its frame's coming over the WebSocket, both in one process. */
export async function* latency(options: PartOptions): AsyncGenerator<Row> {
  const { row } = await runStreams({ ...options, streams: 200, rate: 20, echo: true });
  yield { ...row, goal: 'p50 ≤ 2, p99 ≤ 15' };
}

/** Many streams at once, without the echo, which would take time of its own from the other core. */
export async function* throughput(options: PartOptions): AsyncGenerator<Row> {
  for (const [streams, rate] of [
    [500, 20],
    [500, 40],
  ] as const) {
    const { row } = await runStreams({ ...options, streams, rate, echo: false });
    yield { ...row, goal: '≥ 10,000' };
  }
}

interface Load extends PartOptions {
  readonly streams: number;
  /** Tokens per second of each. */
  readonly rate: number;
  readonly echo: boolean;
}

async function runStreams({ seconds, profileDir, streams, rate, echo }: Load): Promise<{ row: Row }> {
  const bench = await startBench({ streams, stepMs: 1000 / rate, profileDir });
  try {
    const tokens = Math.round(seconds * rate);
    const before = bench.gateway.memoryMB;
    const cpuBefore = bench.gateway.cpuSeconds;
    const clients = await bench.clients({ sockets: streams, streams, tokens, spreadMs: 2000, echo });
    const middle = sleep(seconds * 500).then(() => bench.gateway.memoryMB);
    const report = await clients.report;
    const cpu = (bench.gateway.cpuSeconds - cpuBefore) / report.seconds;
    const rates = report.tokens / report.seconds;
    const row = {
      streams,
      'tokens/s each': rate,
      'tokens/s in all': rates,
      'frames/s': report.frames / report.seconds,
      'gateway cores': cpu,
      'tokens/s per core': rates / cpu,
      ...(echo && {
        'added ms p50': quantile(report.addedMs, 0.5),
        p95: quantile(report.addedMs, 0.95),
        p99: quantile(report.addedMs, 0.99),
      }),
      'MB before': before,
      'kB a stream': (((await middle) - before) * 1000) / streams,
      'whole responses': `${report.whole} of ${streams}`,
    };
    await clients.end();
    return { row };
  } finally {
    await bench.stop();
  }
}

/** One request after the other on an idle system, and the engine asked directly. */
export async function* ttft(): AsyncGenerator<Row> {
  const stepMs = 20;
  const requests = 100;
  const alone = await engineTtft(stepMs, requests);
  const bench = await startBench({ streams: 8, stepMs });
  try {
    const spreadMs = requests * 200;
    const clients = await bench.clients({
      sockets: requests,
      streams: requests,
      tokens: 2,
      spreadMs,
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
