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
  links: [{ traceId, spanId: parentSpanId }],
  events: [{ name: 'exception', attributes: { 'exception.message': 'no' } }],
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

  it('refuses what is no trace', async () => {
    const json = { 'content-type': 'application/json' };
    expect((await post('not JSON', json)).status).toBe(400);
    expect((await post('', { 'content-type': 'application/x-protobuf' })).status).toBe(415);
    expect((await post('{}', json, '/v1/metrics')).status).toBe(404);
    expect(receiver.spans).toEqual([]);
  });
});
