import {
  type Attributes,
  type Context,
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

/** The context of the span that `traceparent` names, for what belongs into its trace; an empty one where it names none. */
export function contextOf(traceparent: string | null): Context {
  return traceparent === null ? ROOT_CONTEXT : propagation.extract(ROOT_CONTEXT, { traceparent });
}

/** A link to the span that `traceparent` names; none where it names none. */
export function linksTo(traceparent: string | null, attributes?: Attributes): Link[] {
  const target = trace.getSpanContext(contextOf(traceparent));
  return target && isSpanContextValid(target) ? [{ context: target, ...(attributes && { attributes }) }] : [];
}
