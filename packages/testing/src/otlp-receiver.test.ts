import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { OtlpReceiver } from './otlp-receiver.ts';

const traceId = '0af7651916cd43dd8448eb211c80319c';
const spanId = 'b7ad6b7169203331';
const parentSpanId = '00f067aa0ba902b7';

const expected = {
  traceId,
  spanId,
  parentSpanId,
  name: 'process generations',
  kind: 'consumer',
  attributes: {
    'baton.epoch': 2,
    'gen_ai.response.id': 'resp_1',
    'gen_ai.response.finish_reasons': ['stop'],
  },
  resource: { 'service.name': 'baton-worker' },
  start: 1_700_000_000_000.5,
  end: 1_700_000_000_001,
  links: [{ traceId, spanId: parentSpanId, attributes: {} }],
  events: [{ name: 'exception', time: 1_700_000_000_000.75, attributes: { 'exception.message': 'no' } }],
  status: 'error',
};

let receiver: OtlpReceiver;
beforeEach(async () => {
  receiver = await OtlpReceiver.start();
});
afterEach(() => receiver.stop());

const post = (body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string>, path = '/v1/traces') =>
  fetch(receiver.endpoint + path, { method: 'POST', body, headers });

describe('OtlpReceiver', () => {
  it('reads spans, gzipped or not', async () => {
    const body = {
      resourceSpans: [
        {
          resource: { attributes: [{ key: 'service.name', value: { stringValue: 'baton-worker' } }] },
          scopeSpans: [
            {
              spans: [
                {
                  traceId,
                  spanId,
                  parentSpanId,
                  name: 'process generations',
                  kind: 5,
                  startTimeUnixNano: '1700000000000500000',
                  endTimeUnixNano: '1700000000001000000',
                  attributes: [
                    { key: 'baton.epoch', value: { intValue: '2' } },
                    { key: 'gen_ai.response.id', value: { stringValue: 'resp_1' } },
                    {
                      key: 'gen_ai.response.finish_reasons',
                      value: { arrayValue: { values: [{ stringValue: 'stop' }] } },
                    },
                  ],
                  links: [{ traceId, spanId: parentSpanId }],
                  events: [
                    {
                      name: 'exception',
                      timeUnixNano: '1700000000000750000',
                      attributes: [{ key: 'exception.message', value: { stringValue: 'no' } }],
                    },
                  ],
                  status: { code: 2 },
                },
              ],
            },
          ],
        },
      ],
    };
    const waiting = receiver.waitFor((span) => span.status === 'error');
    const json = { 'content-type': 'application/json' };
    expect((await post(JSON.stringify(body), json)).status).toBe(200);
    expect(await waiting).toEqual(expected);
    const gzipped = new Uint8Array(gzipSync(JSON.stringify(body)));
    expect((await post(gzipped, { ...json, 'content-encoding': 'gzip' })).status).toBe(200);
    expect(receiver.spans).toEqual([expected, expected]);
  });

  it('reads the points of sums, gauges and histograms', async () => {
    const attributes = [{ key: 'baton.state', value: { stringValue: 'running' } }];
    const body = {
      resourceMetrics: [
        {
          resource: { attributes: [{ key: 'service.name', value: { stringValue: 'baton-worker' } }] },
          scopeMetrics: [
            {
              metrics: [
                { name: 'a', unit: '{token}', sum: { dataPoints: [{ attributes, asInt: '3' }] } },
                { name: 'b', unit: 'By', gauge: { dataPoints: [{ asDouble: 1.5 }] } },
                { name: 'c', unit: 's', histogram: { dataPoints: [{ count: '2', sum: 0.5 }] } },
              ],
            },
          ],
        },
      ],
    };
    const json = { 'content-type': 'application/json' };
    expect((await post(JSON.stringify(body), json, '/v1/metrics')).status).toBe(200);
    const resource = { 'service.name': 'baton-worker' };
    expect(receiver.points).toEqual([
      {
        name: 'a',
        unit: '{token}',
        attributes: { 'baton.state': 'running' },
        resource,
        value: 3,
        count: null,
      },
      { name: 'b', unit: 'By', attributes: {}, resource, value: 1.5, count: null },
      { name: 'c', unit: 's', attributes: {}, resource, value: 0.5, count: 2 },
    ]);
  });

  it('refuses what is neither', async () => {
    const json = { 'content-type': 'application/json' };
    expect((await post('not JSON', json)).status).toBe(400);
    expect((await post('', { 'content-type': 'application/x-protobuf' })).status).toBe(415);
    expect((await post('{}', json, '/v1/logs')).status).toBe(404);
    expect(receiver.spans).toEqual([]);
  });
});
