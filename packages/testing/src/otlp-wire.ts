export type AttributeValue = string | number | boolean | AttributeValue[] | null;
export type Attributes = Record<string, AttributeValue>;

export interface ReceivedSpan {
  /** 32 hexadecimal digits. */
  traceId: string;
  /** 16 hexadecimal digits. */
  spanId: string;
  /** Null for a root span. */
  parentSpanId: string | null;
  name: string;
  kind: 'unspecified' | 'internal' | 'server' | 'client' | 'producer' | 'consumer';
  attributes: Attributes;
  /** Attributes of the process that sent it. */
  resource: Attributes;
  /** Milliseconds since the Unix epoch. */
  start: number;
  end: number;
  links: { traceId: string; spanId: string; attributes: Attributes }[];
  events: { name: string; time: number; attributes: Attributes }[];
  status: 'unset' | 'ok' | 'error';
}

/** One data point of a metric: its newest value, or a histogram's sum and count. */
export interface ReceivedPoint {
  name: string;
  unit: string;
  attributes: Attributes;
  resource: Attributes;
  value: number;
  /** Of histograms alone. */
  count: number | null;
}

const kinds = ['unspecified', 'internal', 'server', 'client', 'producer', 'consumer'] as const;
const statuses = ['unset', 'ok', 'error'] as const;

/** Of OTLP/JSON's ExportTraceServiceRequest, what tests look at (https://opentelemetry.io/docs/specs/otlp/). */
interface ExportRequest {
  resourceSpans?: { resource?: { attributes?: KeyValue[] }; scopeSpans?: { spans?: WireSpan[] }[] }[];
}
interface WireSpan {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  kind?: number;
  /** Nanoseconds since the Unix epoch, as text. */
  startTimeUnixNano?: string;
  endTimeUnixNano?: string;
  attributes?: KeyValue[];
  links?: { traceId: string; spanId: string; attributes?: KeyValue[] }[];
  events?: { name: string; timeUnixNano?: string; attributes?: KeyValue[] }[];
  status?: { code?: number };
}
/** The same of ExportMetricsServiceRequest. */
interface ExportMetricsRequest {
  resourceMetrics?: {
    resource?: { attributes?: KeyValue[] };
    scopeMetrics?: { metrics?: WireMetric[] }[];
  }[];
}
interface WireMetric {
  name: string;
  unit?: string;
  sum?: { dataPoints?: WirePoint[] };
  gauge?: { dataPoints?: WirePoint[] };
  histogram?: { dataPoints?: WirePoint[] };
}
interface WirePoint {
  attributes?: KeyValue[];
  asDouble?: number;
  /** 64 bits, so exporters may write it as text. */
  asInt?: number | string;
  sum?: number;
  count?: number | string;
}
interface KeyValue {
  key: string;
  value: AnyValue;
}
interface AnyValue {
  stringValue?: string;
  boolValue?: boolean;
  doubleValue?: number;
  /** 64 bits, so exporters may write it as text. */
  intValue?: number | string;
  arrayValue?: { values?: AnyValue[] };
}

export function readSpans({ resourceSpans = [] }: ExportRequest): ReceivedSpan[] {
  return resourceSpans.flatMap(({ resource, scopeSpans = [] }) =>
    scopeSpans.flatMap(({ spans = [] }) =>
      spans.map((span) => readSpan(span, readAttributes(resource?.attributes))),
    ),
  );
}

function readSpan(span: WireSpan, resource: Attributes): ReceivedSpan {
  return {
    traceId: span.traceId,
    spanId: span.spanId,
    parentSpanId: span.parentSpanId || null,
    name: span.name,
    kind: kinds[span.kind ?? 0] ?? 'unspecified',
    attributes: readAttributes(span.attributes),
    resource,
    start: milliseconds(span.startTimeUnixNano),
    end: milliseconds(span.endTimeUnixNano),
    links: (span.links ?? []).map(({ traceId, spanId, attributes }) => ({
      traceId,
      spanId,
      attributes: readAttributes(attributes),
    })),
    events: (span.events ?? []).map(({ name, timeUnixNano, attributes }) => ({
      name,
      time: milliseconds(timeUnixNano),
      attributes: readAttributes(attributes),
    })),
    status: statuses[span.status?.code ?? 0] ?? 'unset',
  };
}

export function readPoints({ resourceMetrics = [] }: ExportMetricsRequest): ReceivedPoint[] {
  return resourceMetrics.flatMap(({ resource, scopeMetrics = [] }) =>
    scopeMetrics.flatMap(({ metrics = [] }) =>
      metrics.flatMap(({ name, unit = '', sum, gauge, histogram }) =>
        ((sum ?? gauge ?? histogram)?.dataPoints ?? []).map((point) => ({
          name,
          unit,
          attributes: readAttributes(point.attributes),
          resource: readAttributes(resource?.attributes),
          value: Number(point.asDouble ?? point.asInt ?? point.sum ?? 0),
          count: point.count === undefined ? null : Number(point.count),
        })),
      ),
    ),
  );
}

function milliseconds(nanoseconds = '0'): number {
  return Number(BigInt(nanoseconds) / 1000n) / 1000;
}

function readAttributes(pairs: readonly KeyValue[] = []): Attributes {
  return Object.fromEntries(pairs.map(({ key, value }) => [key, readValue(value)]));
}

function readValue(value: AnyValue): AttributeValue {
  if (value.intValue !== undefined) return Number(value.intValue);
  if (value.arrayValue !== undefined) return (value.arrayValue.values ?? []).map(readValue);
  return value.stringValue ?? value.boolValue ?? value.doubleValue ?? null;
}
