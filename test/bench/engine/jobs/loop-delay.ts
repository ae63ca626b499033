import { openSync, readSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';

/** Milliseconds between the timer's own calls. */
const resolution = 1;

/** What a thread did over some time, in ms. */
interface ThreadTimes {
  /** Processor time that it took. */
  readonly busy: number;
  /** Time in which it was ready to run and had no core; null where the system does not tell. */
  readonly waited: number | null;
}

/**
 * How much later than due this thread's event loop came to a timer, in ms, since it was asked before, and which part of that
 * was the thread's own doing.
 */
export class LoopDelay {
  readonly #histogram = monitorEventLoopDelay({ resolution });
  readonly #timesNow = threadClock();
  #last = this.#timesNow();
  #most: ThreadTimes = none;

  constructor() {
    this.#histogram.enable();
    setInterval(() => this.#note(), resolution).unref();
  }

  /** Begins again: what came before counts no more. */
  reset(): void {
    this.#histogram.reset();
    this.#last = this.#timesNow();
    this.#most = none;
  }

  percentile(percent: number): number {
    return Math.max(0, this.#histogram.percentile(percent) / 1e6 - resolution);
  }

  /** The most of each between two timers: a loop that came late while it was hardly busy was not blocked but had no core. */
  get most(): ThreadTimes {
    return this.#most;
  }

  #note(): void {
    const now = this.#timesNow();
    const { busy, waited } = this.#most;
    this.#most = {
      busy: Math.max(busy, now.busy - this.#last.busy),
      waited: now.waited === null ? null : Math.max(waited ?? 0, now.waited - (this.#last.waited ?? 0)),
    };
    this.#last = now;
  }
}

const none: ThreadTimes = { busy: 0, waited: null };

/** Tells the times of the thread that made it since that thread began. */
function threadClock(): () => ThreadTimes {
  const busy = () => {
    const { user, system } = process.threadCpuUsage();
    return (user + system) / 1000;
  };
  if (process.platform !== 'linux') return () => ({ busy: busy(), waited: null });
  // Nanoseconds on a core, nanoseconds in its queue, turns (proc_pid_schedstat).
  const file = openSync('/proc/thread-self/schedstat', 'r');
  const text = Buffer.alloc(128);
  return () => {
    const length = readSync(file, text, 0, text.length, 0);
    return { busy: busy(), waited: Number(text.toString('ascii', 0, length).split(' ')[1]) / 1e6 };
  };
}
