import { queueName } from '@baton/protocol';
import { attributes, measure } from '@baton/telemetry';
import { context, SpanKind, trace } from '@opentelemetry/api';
import type { Job } from 'bullmq';
import { BullMQOtel } from 'bullmq-otel';

/**
 * Tells how long a job that was fetched now has waited, where it never was before: as a metric, and as a span in the trace
 * that added it. A job that is adopted is not fetched, and did not wait.
 */
export function recordWait(queued: Job<unknown>): void {
  if (queued.attemptsStarted !== 1) return;
  const now = Date.now();
  measure('queueWait', Math.max(0, now - queued.timestamp) / 1000);
  const metadata = queued.opts.telemetry?.metadata;
  if (metadata === undefined) return;
  const { contextManager } = new BullMQOtel({ tracerName: 'baton' });
  const options = {
    kind: SpanKind.CONSUMER,
    startTime: queued.timestamp,
    attributes: {
      [attributes.messagingSystem]: 'bullmq',
      [attributes.messagingOperation]: 'receive',
      [attributes.messagingDestination]: queueName,
      ...(queued.id !== undefined && { [attributes.messagingMessageId]: queued.id }),
    },
  };
  const adding = contextManager.fromMetadata(context.active(), metadata);
  trace.getTracer('baton').startSpan('wait', options, adding).end(now);
}
