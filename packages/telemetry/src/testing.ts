import {
  type Attributes,
  createNoopMeter,
  type Meter,
  metrics,
  type ObservableCallback,
  type ObservableResult,
} from '@opentelemetry/api';

/** What is counted, measured and observed in this process, under the names of metrics: takes the place of the SDK in a test file, once. */
export class RecordedMetrics {
  readonly #observers = new Map<string, Set<ObservableCallback>>();
  #counts: Point[] = [];
  #measures: Point[] = [];

  constructor() {
    const meter: Meter = Object.assign(createNoopMeter(), {
      createCounter: (name: string) => ({
        add: (value: number, attributes: Attributes = {}) =>
          void this.#counts.push({ name, value, attributes }),
      }),
      createHistogram: (name: string) => ({
        record: (value: number, attributes: Attributes = {}) =>
          void this.#measures.push({ name, value, attributes }),
      }),
      createObservableGauge: (name: string) => this.#observable(name),
      createObservableCounter: (name: string) => this.#observable(name),
    });
    metrics.setGlobalMeterProvider({ getMeter: () => meter });
  }

  /** Forgets what was counted and measured. */
  clear(): void {
    this.#counts = [];
    this.#measures = [];
  }

  /** The sums of a counter's series, by the values of their labels. */
  counted(name: string): Record<string, number> {
    const sums: Record<string, number> = {};
    for (const { value, attributes } of this.#counts.filter((point) => point.name === name)) {
      const labels = Object.values(attributes).join(' ');
      sums[labels] = (sums[labels] ?? 0) + value;
    }
    return sums;
  }

  /** What a histogram has measured. */
  measured(name: string): number[] {
    return this.#measures.filter((point) => point.name === name).map(({ value }) => value);
  }

  /** What a gauge is now, by the values of its labels. */
  async observed(name: string): Promise<Record<string, number>> {
    const values: Record<string, number> = {};
    const result: ObservableResult = {
      observe: (value, attributes = {}) => {
        values[Object.values(attributes).join(' ')] = value;
      },
    };
    for (const read of this.#observers.get(name) ?? []) await read(result);
    return values;
  }

  #observable(name: string) {
    const observers = this.#observers.get(name) ?? new Set();
    this.#observers.set(name, observers);
    return {
      addCallback: (read: ObservableCallback) => void observers.add(read),
      removeCallback: (read: ObservableCallback) => void observers.delete(read),
    };
  }
}

interface Point {
  readonly name: string;
  readonly value: number;
  readonly attributes: Attributes;
}
