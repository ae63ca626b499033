import {
  type Attributes,
  context,
  isSpanContextValid,
  type Link,
  propagation,
  ROOT_CONTEXT,
  trace,
} from '@opentelemetry/api';

/** The active span as a W3C `traceparent`; null where there is none, or nobody records it. */
export function activeTraceparent(): string | null {
  const carrier: { traceparent?: string } = {};
  propagation.inject(context.active(), carrier);
  return carrier.traceparent ?? null;
}

/** A link to the span that `traceparent` names; none where it names none. */
export function linksTo(traceparent: string | null, attributes?: Attributes): Link[] {
  if (traceparent === null) return [];
  const target = trace.getSpanContext(propagation.extract(ROOT_CONTEXT, { traceparent }));
  return target && isSpanContextValid(target) ? [{ context: target, ...(attributes && { attributes }) }] : [];
}
