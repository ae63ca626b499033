import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startTestServers, tinyStoriesCheckpoint } from '@baton/testing';
import { freePort, ServiceProcess } from './processes.ts';

export interface SystemOptions {
  /** Checkpoint folder; hymba-tiny-stories by default. */
  model?: string;
  /** Workers to start; more can be added later. */
  workers?: number;
  /** Further environment of every process. */
  env?: Record<string, string>;
  /** Whether each process has a page for Prometheus, see `ServiceProcess.metrics`. */
  metrics?: boolean;
}

/** A whole Baton: real Redis and NATS, one gateway and some workers, each a process of its own. */
export interface System {
  readonly url: string;
  readonly natsUrl: string;
  readonly gateway: ServiceProcess;
  readonly workers: ServiceProcess[];
  /** Starts another worker, named `worker-<n>`, and waits until it takes jobs. */
  addWorker(): Promise<ServiceProcess>;
  stop(): Promise<void>;
}

/** Starts a system and waits until it takes requests. Whoever starts it stops it. */
export async function startSystem(options: SystemOptions = {}): Promise<System> {
  const dataDir = await mkdtemp(join(tmpdir(), 'baton-test-'));
  const servers = await startTestServers();
  const port = await freePort();
  const env = {
    BATON_REDIS_URL: servers.redis.url,
    BATON_NATS_URL: servers.nats.url,
    BATON_DATA_DIR: dataDir,
    BATON_THREADS: '1',
    BATON_MODEL: options.model ?? tinyStoriesCheckpoint(),
    ...options.env,
  };
  const prometheus = async () =>
    options.metrics && {
      OTEL_METRICS_EXPORTER: 'otlp,prometheus',
      OTEL_EXPORTER_PROMETHEUS_HOST: '127.0.0.1',
      OTEL_EXPORTER_PROMETHEUS_PORT: String(await freePort()),
    };
  const gateway = new ServiceProcess('gateway', {
    ...env,
    BATON_PORT: String(port),
    ...(await prometheus()),
  });
  const workers: ServiceProcess[] = [];
  const addWorker = async () => {
    const own = await prometheus();
    const name = { BATON_WORKER_ID: `worker-${workers.length + 1}` };
    const worker = new ServiceProcess('worker', { ...env, ...name, ...own });
    workers.push(worker);
    return worker.ready();
  };
  const stop = async () => {
    await Promise.all([gateway, ...workers].map((process) => process.end('SIGTERM')));
    await servers.stop();
    await rm(dataDir, { recursive: true });
  };
  try {
    await gateway.ready();
    await Promise.all(Array.from({ length: options.workers ?? 1 }, addWorker));
  } catch (error) {
    await stop();
    throw error;
  }
  return { url: `http://127.0.0.1:${port}`, natsUrl: servers.nats.url, gateway, workers, addWorker, stop };
}
