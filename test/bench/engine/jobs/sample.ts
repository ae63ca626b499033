export interface SampleLimits {
  /** Calls before those that count. */
  readonly warmup: number;
  /** Stop after so many ms, but not before `least` samples. */
  readonly milliseconds: number;
  readonly least: number;
  readonly most: number;
}

/** How long each call of `work` took, in ms. */
export async function sample(work: () => Promise<unknown>, limits: SampleLimits): Promise<number[]> {
  for (let i = 0; i < limits.warmup; i++) await work();
  const durations: number[] = [];
  const end = performance.now() + limits.milliseconds;
  while (durations.length < limits.most && (durations.length < limits.least || performance.now() < end)) {
    const start = performance.now();
    await work();
    durations.push(performance.now() - start);
  }
  return durations;
}
