import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gunzipSync } from 'node:zlib';

import { type ReceivedPoint, type ReceivedSpan, readPoints, readSpans } from './otlp-wire.ts';

export type { Attributes, AttributeValue, ReceivedPoint, ReceivedSpan } from './otlp-wire.ts';

/**
 * An OTLP/HTTP receiver of traces and metrics on a free loopback port, for tests: takes what exporters send as `http/json`,
 * gzipped or not. Other encodings get 415, other signals 404.
 */
export class OtlpReceiver {
  readonly spans: ReceivedSpan[] = [];
  /** Every point of every export, the newest last. */
  readonly points: ReceivedPoint[] = [];
  readonly endpoint: string;
  readonly #server: Server;
  readonly #waiters = new Set<() => void>();

  private constructor(server: Server) {
    this.#server = server;
    this.endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const takers: Record<string, (body: object) => unknown> = {
      '/v1/traces': (body) => this.spans.push(...readSpans(body)),
      '/v1/metrics': (body) => this.points.push(...readPoints(body)),
    };
    server.on('request', async (request, response) => {
      const take = takers[request.url ?? ''];
      if (take === undefined) {
        response.writeHead(404).end();
        return;
      }
      if (!request.headers['content-type']?.startsWith('application/json')) {
        response.writeHead(415).end();
        return;
      }
      try {
        take(JSON.parse(String(await readBody(request))));
        response.setHeader('content-type', 'application/json').end('{}');
      } catch (error) {
        response.writeHead(400).end(String(error));
      }
      for (const wake of this.#waiters) wake();
    });
  }

  /** The environment of a process that is to send its telemetry here. */
  get env(): { OTEL_EXPORTER_OTLP_ENDPOINT: string; OTEL_EXPORTER_OTLP_PROTOCOL: string } {
    return { OTEL_EXPORTER_OTLP_ENDPOINT: this.endpoint, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json' };
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
