import { gzipSync } from 'node:zlib';
import { create, toBinary } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ExportTraceServiceRequestSchema } from './generated/opentelemetry/proto/collector/trace/v1/trace_service_pb.js';
import { OtlpReceiver } from './otlp-receiver.ts';

const traceId = '0af7651916cd43dd8448eb211c80319c';
const spanId = 'b7ad6b7169203331';
const parentSpanId = '00f067aa0ba902b7';
const bytes = (hex: string) => new Uint8Array(Buffer.from(hex, 'hex'));

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
  it('reads protobuf, gzipped', async () => {
    const text = (value: string) => ({ value: { case: 'stringValue', value } }) as const;
    const request = create(ExportTraceServiceRequestSchema, {
      resourceSpans: [
        {
          resource: { attributes: [{ key: 'service.name', value: text('baton-worker') }] },
          scopeSpans: [
            {
              spans: [
                {
                  traceId: bytes(traceId),
                  spanId: bytes(spanId),
                  parentSpanId: bytes(parentSpanId),
                  name: 'process generations',
                  kind: 5,
                  attributes: [
                    { key: 'baton.epoch', value: { value: { case: 'intValue', value: 2n } } },
                    { key: 'gen_ai.response.id', value: text('resp_1') },
                    {
                      key: 'gen_ai.response.finish_reasons',
                      value: { value: { case: 'arrayValue', value: { values: [text('stop')] } } },
                    },
                  ],
                  links: [{ traceId: bytes(traceId), spanId: bytes(parentSpanId) }],
                  events: [
                    { name: 'exception', attributes: [{ key: 'exception.message', value: text('no') }] },
                  ],
                  status: { code: 2 },
                },
              ],
            },
          ],
        },
      ],
    });
    const body = gzipSync(toBinary(ExportTraceServiceRequestSchema, request));
    const headers = { 'content-type': 'application/x-protobuf', 'content-encoding': 'gzip' };
    expect((await post(new Uint8Array(body), headers)).status).toBe(200);
    expect(receiver.spans).toEqual([expected]);
  });

  it('reads JSON, whose ids are hexadecimal', async () => {
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
    const response = await post(JSON.stringify(body), { 'content-type': 'application/json' });
    expect(response.status).toBe(200);
    expect(await waiting).toEqual(expected);
  });

  it('refuses what is no trace', async () => {
    const headers = { 'content-type': 'application/x-protobuf' };
    expect((await post('not protobuf', headers)).status).toBe(400);
    expect((await post('', headers, '/v1/metrics')).status).toBe(404);
    expect(receiver.spans).toEqual([]);
  });
});
