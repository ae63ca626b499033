import { fork } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Sink {
  /** Everything on: traces and metrics over OTLP to this sink, as the default exporters send them. */
  readonly telemetry: Record<string, string>;
  stop(): void;
}

/** Starts an OTLP receiver in a process of its own that takes everything and keeps nothing, as a collector elsewhere would cost. */
export async function startSink(): Promise<Sink> {
  const child = fork(import.meta.filename);
  const [port] = await once(child, 'message');
  return {
    telemetry: { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}` },
    stop: () => void child.kill(),
  };
}

if (import.meta.main) {
  const server = createServer((request, response) => {
    request.resume().on('end', () => response.setHeader('content-type', 'application/x-protobuf').end());
  });
  server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port));
  process.once('disconnect', () => process.exit());
}
