import { setTimeout as sleep } from 'node:timers/promises';

/** A started process. */
export interface Running {
  /** Resolves when it can be used. */
  readonly ready: Promise<void>;
  /** Resolves with how it ended. */
  readonly exited: Promise<string>;
  /** The last lines it wrote. */
  lastWords(): string;
  stop(): Promise<void>;
}

export type Launch = () => Promise<Running>;

export interface Restarts {
  readonly firstDelayMs: number;
  readonly longestDelayMs: number;
  /** A process that ran this long has recovered: its next restart is quick again. */
  readonly recoveredAfterMs: number;
}

const defaultRestarts: Restarts = { firstDelayMs: 250, longestDelayMs: 30_000, recoveredAfterMs: 30_000 };

/** Something that is started again whenever it ends, until it is stopped. */
export interface Kept {
  readonly name: string;
  /** Resolves when the first process can be used. */
  readonly firstReady: Promise<void>;
  /** Resolves with what the first process said when it ended. */
  readonly firstEnd: Promise<string>;
  stop(): Promise<void>;
}

/**
 * Launches `name` and launches it again, with exponential back-off, whenever it ends by itself; each time says so.
 * Rejects when the first launch fails.
 */
export async function keepRunning(
  name: string,
  launch: Launch,
  say: (line: string) => void,
  restarts: Restarts = defaultRestarts,
): Promise<Kept> {
  const stopping = new AbortController();
  let current = await launch();
  const firstReady = current.ready;
  const firstEnd = endOf(current);

  const supervise = async (): Promise<void> => {
    let delay = restarts.firstDelayMs;
    for (;;) {
      const startedAt = performance.now();
      const end = await endOf(current);
      if (stopping.signal.aborted) return;
      if (performance.now() - startedAt > restarts.recoveredAfterMs) delay = restarts.firstDelayMs;
      say(`${name} ended and is started again in ${delay / 1000} s: ${end}`);
      await sleep(delay, undefined, { signal: stopping.signal }).catch(() => {});
      if (stopping.signal.aborted) return;
      delay = Math.min(2 * delay, restarts.longestDelayMs);
      current = await launch().catch(failedLaunch);
      if (stopping.signal.aborted) return current.stop();
    }
  };
  const supervised = supervise();
  return {
    name,
    firstReady,
    firstEnd,
    async stop() {
      stopping.abort();
      await current.stop();
      await supervised;
    },
  };
}

async function endOf(process: Running): Promise<string> {
  const end = await process.exited;
  const words = process.lastWords();
  return words === '' ? end : `${end}. Its log ends with:\n${words.replaceAll(/^/gm, '    ')}`;
}

/** Stands for a process that could not be started, so that its restart is handled like any other. */
function failedLaunch(error: unknown): Running {
  const reason = error instanceof Error ? error.message : String(error);
  return {
    ready: new Promise(() => {}),
    exited: Promise.resolve(reason),
    lastWords: () => '',
    stop: async () => {},
  };
}
