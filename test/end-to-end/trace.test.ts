import { OtlpReceiver } from '@baton/testing/otlp-receiver';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type System, startSystem } from '../support/system.ts';

describe('the trace of one request', () => {
  let receiver: OtlpReceiver;
  let system: System;

  beforeAll(async () => {
    receiver = await OtlpReceiver.start();
    system = await startSystem({
      env: { ...receiver.env, OTEL_BSP_SCHEDULE_DELAY: '100' },
    });
  });
  afterAll(async () => {
    await system?.stop();
    await receiver?.stop();
  });

  it('runs from the client through gateway, queue, worker and log under one trace id', async () => {
    const traceId = '0af7651916cd43dd8448eb211c80319c';
    const answer = await fetch(`${system.url}/v1/responses`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', traceparent: `00-${traceId}-b7ad6b7169203331-01` },
      body: JSON.stringify({ model: 'hymba-tiny-stories', input: 'Tell me a story.', max_output_tokens: 5 }),
    });
    expect(answer.status).toBe(200);
    const { id } = (await answer.json()) as { id: string };

    const wanted = [
      'POST /v1/responses',
      'validate',
      'enqueue',
      'add generations.generation',
      'append queued',
      'process generations',
      'claim',
      'append claimed',
      'prefill',
      'decode',
      'append finish',
      'deliver',
    ];
    for (const name of wanted) {
      await receiver.waitFor((span) => span.name === name && span.traceId === traceId);
    }
    const spans = receiver.spans.filter((span) => span.traceId === traceId);
    const services = (name: string) => spans.find((span) => span.name === name)?.resource['service.name'];
    expect(services('POST /v1/responses')).toBe('baton-gateway');
    expect(services('decode')).toBe('baton-worker');

    const byId = new Map(spans.map((span) => [span.spanId, span]));
    for (const span of spans) {
      const parent = span.parentSpanId ?? '';
      expect(parent === 'b7ad6b7169203331' || byId.has(parent), `${span.name} hangs in the trace`).toBe(true);
      expect(span.status, span.name).not.toBe('error');
    }
    const request = spans.find((span) => span.name === 'POST /v1/responses');
    expect(request).toMatchObject({ kind: 'server', attributes: { 'gen_ai.response.id': id } });
  });
});
