import {
  type Attributes,
  type Context,
  context,
  type Link,
  type Span,
  type SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';

export interface SpanSettings {
  kind?: SpanKind;
  attributes?: Attributes;
  links?: Link[];
  /** Default: the active context. */
  parent?: Context;
}

/** Runs `fn` inside a new active span, records what it throws, rethrows it, and always ends the span. */
export async function withSpan<T>(
  name: string,
  { parent = context.active(), ...options }: SpanSettings,
  fn: (span: Span) => Promise<T> | T,
): Promise<T> {
  return trace.getTracer('baton').startActiveSpan(name, options, parent, async (span) => {
    try {
      return await fn(span);
    } catch (error) {
      const exception = error instanceof Error ? error : new Error(String(error));
      span.recordException(exception);
      span.setStatus({ code: SpanStatusCode.ERROR, message: exception.message });
      throw error;
    } finally {
      span.end();
    }
  });
}
