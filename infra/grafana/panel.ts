/** A line, or several, of a panel: a PromQL expression and what its lines are called, with labels in double braces. */
export interface Target {
  readonly expr: string;
  readonly legend: string;
}

/** Units as Grafana calls them; `ops` and `cps` are things a second. */
export type Unit = 's' | 'decbytes' | 'Bps' | 'short' | 'reqps' | 'cps' | 'percentunit' | 'none';

export interface Panel {
  readonly title: string;
  /** What to read from it. */
  readonly description: string;
  readonly unit: Unit;
  readonly targets: readonly Target[];
  /** Whether the lines are parts of a whole. */
  readonly stacked?: boolean;
}

export interface Dashboard {
  readonly uid: string;
  readonly title: string;
  readonly panels: readonly Panel[];
}

/** Quantiles of a histogram, a line each; `by` are labels to tell apart. */
export function quantiles(
  histogram: string,
  wanted: readonly number[],
  by: readonly string[] = [],
): Target[] {
  return wanted.map((quantile) => ({
    expr: `histogram_quantile(${quantile}, sum by (${['le', ...by].join(', ')}) (rate(${histogram}_bucket[$__rate_interval])))`,
    legend: [`p${quantile * 100}`, ...by.map((label) => `{{${label}}}`)].join(' '),
  }));
}

/** How much a counter grows a second, a line for each value of `by`. */
export function perSecond(counter: string, by: string): Target {
  return { expr: `sum by (${by}) (rate(${counter}[$__rate_interval]))`, legend: `{{${by}}}` };
}
