import { monitorEventLoopDelay } from 'node:perf_hooks';

/** Milliseconds between the timer's own calls. */
const resolution = 1;

/** How much later than due this thread's event loop came to a timer, in ms, since it was asked before. */
export class LoopDelay {
  readonly #histogram = monitorEventLoopDelay({ resolution });

  constructor() {
    this.#histogram.enable();
  }

  /** Begins again: what came before counts no more. */
  reset(): void {
    this.#histogram.reset();
  }

  percentile(percent: number): number {
    return Math.max(0, this.#histogram.percentile(percent) / 1e6 - resolution);
  }
}
