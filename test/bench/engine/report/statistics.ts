/** What is told of repeated measurements. */
export interface Summary {
  readonly median: number;
  /** Lower and upper quartile. */
  readonly low: number;
  readonly high: number;
  readonly count: number;
}

/** The value below which the share `q` (0 … 1) of the samples lies, interpolated between neighbours (R's type 7). */
export function quantile(samples: readonly number[], q: number): number {
  if (samples.length === 0) throw new RangeError('there are no samples');
  const sorted = samples.toSorted((a, b) => a - b);
  const at = q * (sorted.length - 1);
  const below = sorted[Math.floor(at)] ?? Number.NaN;
  const above = sorted[Math.ceil(at)] ?? Number.NaN;
  return below + (above - below) * (at - Math.floor(at));
}

export function summarize(samples: readonly number[]): Summary {
  return {
    median: quantile(samples, 0.5),
    low: quantile(samples, 0.25),
    high: quantile(samples, 0.75),
    count: samples.length,
  };
}

/** Durations in ms of something that makes `amount` of a thing → how many of it in a second. */
export function ratePerSecond(durations: readonly number[], amount: number): Summary {
  return summarize(durations.map((ms) => (amount / ms) * 1000));
}
