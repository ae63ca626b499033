import { isSpanContextValid, trace } from '@opentelemetry/api';
import { type Logger, pino } from 'pino';
import { PinoPretty } from 'pino-pretty';

/**
 * A service's logger: one line an event, with the trace it belongs to. For people where standard output is a terminal, JSON
 * otherwise. Nothing that a client wrote, or a model, belongs in it.
 */
export function createLogger(name: string, level: string): Logger {
  const options = { name, level, mixin: traceOf, serializers: { err: describeError } };
  if (!process.stdout.isTTY) return pino(options);
  return pino(
    options,
    PinoPretty({
      sync: true,
      singleLine: true,
      ignore: 'pid,hostname,trace_id,span_id',
      translateTime: 'HH:MM:ss.l',
    }),
  );
}

/** An error without the fields that libraries hang on it: a client of Redis adds the whole command that failed. */
function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return String(error);
  const { name, message, stack } = error;
  const code = 'code' in error && typeof error.code === 'string' ? { code: error.code } : {};
  return {
    type: name,
    message,
    stack,
    ...code,
    ...(error.cause !== undefined && { cause: describeError(error.cause) }),
  };
}

/** The names of https://opentelemetry.io/docs/specs/otel/compatibility/logging_trace_context/. */
function traceOf(): { trace_id: string; span_id: string } | Record<string, never> {
  const span = trace.getActiveSpan()?.spanContext();
  return span && isSpanContextValid(span) ? { trace_id: span.traceId, span_id: span.spanId } : {};
}
