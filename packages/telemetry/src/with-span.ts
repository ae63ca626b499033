import { BatonError, outcomeOf } from '@baton/errors';
import {
  type Attributes,
  type Context,
  context,
  createContextKey,
  type Link,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';

const requestSpanKey = createContextKey('the span of the request');

export interface SpanSettings {
  kind?: SpanKind;
  attributes?: Attributes;
  links?: Link[];
  /** Default: the active context. */
  parent?: Context;
}

/**
 * Runs `fn` inside a new active span, records what it throws, rethrows it, and always ends the span. The span's status is
 * `ERROR` where something broke, and not where a client asked for what cannot be or `fn` was told to stop.
 */
export async function withSpan<T>(
  name: string,
  { parent = context.active(), ...options }: SpanSettings,
  fn: (span: Span) => Promise<T> | T,
): Promise<T> {
  const span = trace.getTracer('baton').startSpan(name, options, parent);
  const within = trace.setSpan(parent, span);
  const isRequest = options.kind === SpanKind.SERVER;
  return context.with(isRequest ? within.setValue(requestSpanKey, span) : within, async () => {
    try {
      return await fn(span);
    } catch (error) {
      failSpan(span, error);
      throw error;
    } finally {
      span.end();
    }
  });
}

/** Records on `span` what went wrong in it. */
export function failSpan(span: Span, error: unknown): void {
  if (error instanceof Error && error.name === 'AbortError') return;
  const exception = error instanceof Error ? error : new Error(String(error));
  span.recordException(exception);
  if (error instanceof BatonError && outcomeOf(error.code).status < 500) return;
  span.setStatus({ code: SpanStatusCode.ERROR, message: exception.message });
}

/** The server span around what runs now: the one that a request's own attributes and links belong on. */
export function requestSpan(): Span | undefined {
  return context.active().getValue(requestSpanKey) as Span | undefined;
}
