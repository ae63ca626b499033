import { spawn } from 'node:child_process';
import type { Load } from './loads.ts';
import { type Block, measurePair } from './pair.ts';
import { startSink } from './sink.ts';

/** The blocks of each load, pair by pair; none of loads that were not wanted. */
export type Measured = Record<Load, Block[][]>;

export interface LaneOptions {
  readonly pairs: number;
  /** Blocks of each load, shared out among the pairs. */
  readonly rounds: number;
  readonly wanted: readonly Load[];
  /** Whose cores it has to itself; null for all. */
  readonly cores: { readonly first: number; readonly last: number } | null;
}

/**
 * Measures pairs of systems, one after the other, in a process of its own and on cores of its own. Both systems of a pair run on
 * the same ones, so that they differ by no more than what they do. Needs `taskset` where cores are given.
 */
export function runLane({ cores, ...options }: LaneOptions, say: (line: string) => void): Promise<Measured> {
  const node = [process.execPath, import.meta.filename, JSON.stringify(options)];
  const [command, ...args] = cores
    ? ['taskset', '--cpu-list', `${cores.first}-${cores.last}`, ...node]
    : node;
  const child = spawn(command as string, args, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  return new Promise((resolve, reject) => {
    child.on('message', (message: string | Measured) =>
      typeof message === 'string' ? say(message) : resolve(message),
    );
    child.once('error', reject);
    child.once('exit', (code, signal) => reject(new Error(`a lane ended: ${signal ?? code}`)));
  });
}

async function measure({ pairs, rounds, wanted }: Omit<LaneOptions, 'cores'>): Promise<void> {
  const sink = await startSink();
  const measured: Measured = { decode: [], long: [], short: [] };
  for (let pair = 0; pair < pairs; pair++) {
    process.send?.(`pair ${pair + 1} of ${pairs}`);
    // What does not divide goes to the first pairs.
    const blocks = Math.floor(rounds / pairs) + (pair < rounds % pairs ? 1 : 0);
    const options = { telemetry: sink.telemetry, blocks, isOdd: pair % 2 === 1 };
    for (const load of wanted)
      measured[load].push(await measurePair(load, options, (line) => process.send?.(line)));
  }
  sink.stop();
  process.send?.(measured, () => process.exit());
}

if (import.meta.main) {
  // One that failed ends the benchmark, and that ends the others.
  process.once('disconnect', () => process.exit(1));
  await measure(JSON.parse(process.argv[2] ?? ''));
}
