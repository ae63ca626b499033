import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gunzipSync } from 'node:zlib';
import { fromBinary, fromJson } from '@bufbuild/protobuf';
import {
  type ExportTraceServiceRequest,
  ExportTraceServiceRequestSchema,
} from './generated/opentelemetry/proto/collector/trace/v1/trace_service_pb.js';
import type { AnyValue, KeyValue } from './generated/opentelemetry/proto/common/v1/common_pb.js';
import type { Span } from './generated/opentelemetry/proto/trace/v1/trace_pb.js';

export type AttributeValue = string | number | boolean | AttributeValue[] | null;
export type Attributes = Record<string, AttributeValue>;

export interface ReceivedSpan {
  /** 32 hexadecimal digits. */
  traceId: string;
  /** 16 hexadecimal digits. */
  spanId: string;
  /** Null for a root span. */
  parentSpanId: string | null;
  name: string;
  kind: 'unspecified' | 'internal' | 'server' | 'client' | 'producer' | 'consumer';
  attributes: Attributes;
  /** Attributes of the process that sent it. */
  resource: Attributes;
  links: { traceId: string; spanId: string }[];
  events: { name: string; attributes: Attributes }[];
  status: 'unset' | 'ok' | 'error';
}

const kinds = ['unspecified', 'internal', 'server', 'client', 'producer', 'consumer'] as const;
const statuses = ['unset', 'ok', 'error'] as const;

/**
 * An OTLP/HTTP trace receiver on a free loopback port, for tests: takes what any exporter sends, protobuf or JSON,
 * gzipped or not (https://opentelemetry.io/docs/specs/otlp/). Other signals get 404.
 */
export class OtlpReceiver {
  readonly spans: ReceivedSpan[] = [];
  /** What to set `OTEL_EXPORTER_OTLP_ENDPOINT` to. */
  readonly endpoint: string;
  readonly #server: Server;
  readonly #waiters = new Set<() => void>();

  private constructor(server: Server) {
    this.#server = server;
    this.endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.on('request', async (request, response) => {
      const json = request.headers['content-type']?.startsWith('application/json') ?? false;
      response.setHeader('content-type', json ? 'application/json' : 'application/x-protobuf');
      if (request.url !== '/v1/traces') {
        response.writeHead(404).end();
        return;
      }
      try {
        this.spans.push(...readSpans(await readBody(request), json));
        response.end(json ? '{}' : '');
      } catch (error) {
        response.writeHead(400).end(String(error));
      }
      for (const wake of this.#waiters) wake();
    });
  }

  static async start(): Promise<OtlpReceiver> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new OtlpReceiver(server);
  }

  /** Waits for the first span that satisfies `predicate`; the test's own timeout bounds the wait. */
  async waitFor(predicate: (span: ReceivedSpan) => boolean): Promise<ReceivedSpan> {
    for (;;) {
      const found = this.spans.find(predicate);
      if (found !== undefined) return found;
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiters.add(resolve);
      await promise;
      this.#waiters.delete(resolve);
    }
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const body = Buffer.concat(await request.toArray());
  return request.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body;
}

function readSpans(body: Buffer, json: boolean): ReceivedSpan[] {
  const request: ExportTraceServiceRequest = json
    ? fromJson(ExportTraceServiceRequestSchema, JSON.parse(body.toString()), { ignoreUnknownFields: true })
    : fromBinary(ExportTraceServiceRequestSchema, body);
  // OTLP/JSON writes ids in hexadecimal where protobuf's JSON has base64; reading and writing base64 gives them back.
  const readId = (bytes: Uint8Array) => Buffer.from(bytes).toString(json ? 'base64' : 'hex');
  return request.resourceSpans.flatMap(({ resource, scopeSpans }) =>
    scopeSpans.flatMap(({ spans }) =>
      spans.map((span) => readSpan(span, readAttributes(resource?.attributes ?? []), readId)),
    ),
  );
}

function readSpan(span: Span, resource: Attributes, readId: (bytes: Uint8Array) => string): ReceivedSpan {
  return {
    traceId: readId(span.traceId),
    spanId: readId(span.spanId),
    parentSpanId: readId(span.parentSpanId) || null,
    name: span.name,
    kind: kinds[span.kind] ?? 'unspecified',
    attributes: readAttributes(span.attributes),
    resource,
    links: span.links.map((link) => ({ traceId: readId(link.traceId), spanId: readId(link.spanId) })),
    events: span.events.map((event) => ({ name: event.name, attributes: readAttributes(event.attributes) })),
    status: statuses[span.status?.code ?? 0] ?? 'unset',
  };
}

function readAttributes(pairs: readonly KeyValue[]): Attributes {
  return Object.fromEntries(pairs.map(({ key, value }) => [key, readValue(value)]));
}

function readValue(value: AnyValue | undefined): AttributeValue {
  const held = value?.value;
  switch (held?.case) {
    case 'stringValue':
    case 'boolValue':
    case 'doubleValue':
      return held.value;
    case 'intValue':
      return Number(held.value);
    case 'arrayValue':
      return held.value.values.map(readValue);
    case 'bytesValue':
      return Buffer.from(held.value).toString('hex');
    default:
      return null;
  }
}
