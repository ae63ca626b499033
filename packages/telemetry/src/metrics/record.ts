import {
  type Attributes,
  type Counter,
  type Gauge,
  type Histogram,
  type Meter,
  metrics,
  type ObservableResult,
} from '@opentelemetry/api';
import { type MetricDefinitions, type MetricOf, metricDefinitions } from './definitions.ts';

/** Adds to a counter. Does nothing, at the price of a call, where metrics are off. */
export function count(metric: MetricOf<'counter'>, value = 1, attributes?: Attributes): void {
  counter(metric).add(value, attributes);
}

/** Records one value of a distribution, in the metric's unit. */
export function measure(metric: MetricOf<'histogram'>, value: number, attributes?: Attributes): void {
  histogram(metric).record(value, attributes);
}

/**
 * Adds to a counter, always with the same attributes, for what is counted at every step or token: a plain sum that is read when
 * the metrics are. Call it once, after `startTelemetry`, and for a metric that `count` has nothing to do with.
 */
export function adderOf(metric: MetricOf<'counter'>, attributes?: Attributes): (value: number) => void {
  const { name, unit, description } = metricDefinitions[metric];
  let sum = 0;
  baton()
    .createObservableCounter(name, { unit, description })
    .addCallback((result) => result.observe(sum, attributes));
  return (value) => {
    sum += value;
  };
}

/** Records values of a distribution, always with the same attributes, as often as `adderOf` adds. Call it once, after `startTelemetry`. */
export function recorderOf(metric: MetricOf<'histogram'>, attributes?: Attributes): (value: number) => void {
  const found = histogram(metric);
  return (value) => found.record(value, attributes);
}

/**
 * Has `read` called whenever the metrics are read, until the function that this gives is called. What it does not observe is
 * not there, whatever it was before.
 */
export function observe(
  metric: MetricOf<'gauge'>,
  read: (result: ObservableResult) => void | Promise<void>,
): () => void {
  const { name, unit, description } = metricDefinitions[metric];
  const gauge = baton().createObservableGauge(name, { unit, description });
  gauge.addCallback(read);
  return () => gauge.removeCallback(read);
}

/** The instruments of each meter that there has been: making one anew takes as long as many recordings. */
const made = new WeakMap<Meter, Map<keyof MetricDefinitions, Counter | Histogram | Gauge>>();

function counter(metric: MetricOf<'counter'>): Counter {
  return instrument(metric, (meter, { name, unit, description }) =>
    meter.createCounter(name, { unit, description }),
  );
}

function histogram(metric: MetricOf<'histogram'>): Histogram {
  return instrument(metric, (meter, { name, unit, description, buckets }) =>
    meter.createHistogram(name, { unit, description, advice: { explicitBucketBoundaries: [...buckets] } }),
  );
}

function instrument<M extends keyof MetricDefinitions, I extends Counter | Histogram>(
  metric: M,
  make: (meter: Meter, definition: MetricDefinitions[M]) => I,
): I {
  const meter = baton();
  const instruments = made.get(meter) ?? new Map();
  made.set(meter, instruments);
  const found = (instruments.get(metric) as I | undefined) ?? make(meter, metricDefinitions[metric]);
  instruments.set(metric, found);
  return found;
}

const baton = (): Meter => metrics.getMeter('baton');
