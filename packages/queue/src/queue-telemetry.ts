import { queueName } from '@baton/protocol';
import { attributes } from '@baton/telemetry';
import { type Span, SpanKind, type Telemetry, TelemetryAttributes } from 'bullmq';
import { BullMQOtel } from 'bullmq-otel';

/** A span that is not there: what happens inside belongs to the span around it. */
const noSpan: Span = {
  setSpanOnContext: (context) => context,
  setAttribute() {},
  setAttributes() {},
  addEvent() {},
  recordException() {},
  end() {},
};

/**
 * BullMQ's spans for adding and processing a job, with the messaging attributes; the trace context travels in the job.
 * BullMQ's internal spans (lock renewals, stalled checks, several a second) are left out.
 */
export function queueTelemetry(): Telemetry {
  const otel = new BullMQOtel({ tracerName: 'baton' });
  return {
    contextManager: otel.contextManager,
    tracer: {
      startSpan(name, options, context) {
        const operation = options && messagingOperations.get(options.kind);
        if (operation === undefined) return noSpan;
        const span = otel.tracer.startSpan(name, options, context);
        span.setAttributes({
          [attributes.messagingSystem]: 'bullmq',
          [attributes.messagingOperation]: operation,
          [attributes.messagingDestination]: queueName,
        });
        return withMessageId(span);
      },
    },
  };
}

const messagingOperations = new Map([
  [SpanKind.PRODUCER, 'send'],
  [SpanKind.CONSUMER, 'process'],
]);

/** BullMQ tells the job's id only in its own attribute. */
function withMessageId(span: Span): Span {
  return {
    setSpanOnContext: (context) => span.setSpanOnContext(context),
    setAttribute: (key, value) => span.setAttribute(key, value),
    setAttributes(values) {
      const id = values[TelemetryAttributes.JobId];
      span.setAttributes(id === undefined ? values : { ...values, [attributes.messagingMessageId]: id });
    },
    addEvent: (name, values) => span.addEvent(name, values),
    recordException: (exception, time) => span.recordException(exception, time),
    end: () => span.end(),
  };
}
