import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { allocatorEnv } from '@baton/engine/allocator-env';
import { startTestServers, type TestServers, tinyStoriesCheckpoint } from '@baton/testing';
import { freePort, ServiceProcess } from './processes.ts';

type Environment = Record<string, string>;

export interface SystemOptions {
  /** Checkpoint folder; hymba-tiny-stories by default. */
  model?: string;
  /** In place of the checkpoint's own. */
  chatTemplate?: string;
  /** Workers to start; more can be added later. */
  workers?: number;
  /** Further environment of every process. */
  env?: Environment;
  /** Whether each process has a page for Prometheus, see `ServiceProcess.metrics`. */
  metrics?: boolean;
}

/** A gateway and where it listens. */
export interface SystemGateway {
  readonly url: string;
  readonly process: ServiceProcess;
}

/** A whole Baton: real Redis and NATS, gateways and workers, each a process of its own. */
export interface System {
  /** Of the first gateway. */
  readonly url: string;
  readonly servers: TestServers;
  readonly natsUrl: string;
  readonly redisUrl: string;
  readonly gateway: ServiceProcess;
  readonly workers: ServiceProcess[];
  /** All that were ever started. */
  readonly processes: readonly ServiceProcess[];
  /** Starts another worker, named `worker-<n>`, and waits until it takes jobs. */
  addWorker(env?: Environment): Promise<ServiceProcess>;
  /** Starts another gateway and waits until it takes requests. */
  addGateway(): Promise<SystemGateway>;
  stop(): Promise<void>;
}

/** Starts a system and waits until it takes requests. Whoever starts it stops it. */
export async function startSystem(options: SystemOptions = {}): Promise<System> {
  const dataDir = await mkdtemp(join(tmpdir(), 'baton-test-'));
  const model = await modelOf(options, dataDir);
  const servers = await startTestServers();
  const common: Environment = {
    BATON_REDIS_URL: servers.redis.url,
    BATON_NATS_URL: servers.nats.url,
    BATON_DATA_DIR: dataDir,
    BATON_THREADS: '1',
    BATON_MODEL: model,
    ...options.env,
  };
  const prometheus = async (): Promise<Environment> =>
    options.metrics
      ? {
          OTEL_METRICS_EXPORTER: 'otlp,prometheus',
          OTEL_EXPORTER_PROMETHEUS_HOST: '127.0.0.1',
          OTEL_EXPORTER_PROMETHEUS_PORT: String(await freePort()),
        }
      : {};
  const gateways: ServiceProcess[] = [];
  const workers: ServiceProcess[] = [];
  const addGateway = async () => {
    const port = await freePort();
    const own = { BATON_PORT: String(port), ...(await prometheus()) };
    const gateway = new ServiceProcess('gateway', { ...common, ...own });
    gateways.push(gateway);
    return { url: `http://127.0.0.1:${port}`, process: await gateway.ready() };
  };
  const addWorker = async (env: Environment = {}) => {
    const page = await prometheus();
    const own = { BATON_WORKER_ID: `worker-${workers.length + 1}`, ...page, ...env };
    const worker = new ServiceProcess('worker', { ...allocatorEnv, ...common, ...own });
    workers.push(worker);
    return worker.ready();
  };
  const stop = async () => {
    await Promise.all([...gateways, ...workers].map((process) => process.end('SIGTERM')));
    await servers.stop();
    await rm(dataDir, { recursive: true });
  };
  try {
    const { url, process } = await addGateway();
    await Promise.all(Array.from({ length: options.workers ?? 1 }, () => addWorker()));
    return {
      url,
      servers,
      natsUrl: servers.nats.url,
      redisUrl: servers.redis.url,
      gateway: process,
      workers,
      get processes() {
        return [...gateways, ...workers];
      },
      addWorker,
      addGateway,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function modelOf({ model = tinyStoriesCheckpoint(), chatTemplate }: SystemOptions, dataDir: string) {
  if (chatTemplate === undefined) return model;
  const copy = join(dataDir, basename(model));
  await cp(model, copy, { recursive: true });
  await writeFile(join(copy, 'chat_template.jinja'), chatTemplate);
  return copy;
}
