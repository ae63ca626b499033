import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { startTestServers, tinyStoriesCheckpoint } from '@baton/testing';
import { freePort, ServiceProcess } from '../../support/processes.ts';
import type { ClientMessage, ClientOrder, ClientReport, Delivered } from './messages.ts';

export interface Bench {
  readonly gateway: ProcessMeter;
  /** Everything that runs beside the gateway and the clients, by name. */
  readonly others: Readonly<Record<string, ProcessMeter>>;
  /** Starts clients and waits until their sockets are open. */
  clients(order: Omit<ClientOrder, 'url' | 'natsUrl' | 'model'>): Promise<Clients>;
  stop(): Promise<void>;
}

export interface Clients {
  readonly meter: ProcessMeter;
  readonly report: Promise<ClientReport>;
  delivered(): Promise<Delivered>;
  end(): Promise<void>;
}

export interface BenchOptions {
  readonly streams: number;
  readonly stepMs: number;
  /** Tokens of each entry of a log. */
  readonly together?: number | undefined;
  /** Where the gateway's CPU profile goes; it is not profiled by default. */
  readonly profileDir?: string | undefined;
}

/** Real Redis and NATS, one gateway and scripted workers, each a process of its own. */
export async function startBench({
  streams,
  stepMs,
  together = 1,
  profileDir,
}: BenchOptions): Promise<Bench> {
  const servers = await startTestServers();
  const port = await freePort();
  const gateway = new ServiceProcess('gateway', {
    BATON_REDIS_URL: servers.redis.url,
    BATON_NATS_URL: servers.nats.url,
    BATON_MODEL: tinyStoriesCheckpoint(),
    BATON_PORT: String(port),
    BATON_QUEUE_LIMIT: '100000',
    BATON_TENANT_GENERATIONS: '100000',
    BATON_TENANT_STREAMS: '100000',
    ...(profileDir && { NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${profileDir}` }),
  });
  await gateway.ready();
  const order = [streams, stepMs, together].map(String);
  const workers = start('workers', [servers.redis.url, servers.nats.url, ...order]);
  await once(workers, 'message');
  const children: ChildProcess[] = [workers];
  return {
    gateway: new ProcessMeter(gateway.child.pid),
    others: {
      workers: new ProcessMeter(workers.pid),
      NATS: new ProcessMeter(servers.nats.pid),
      Redis: new ProcessMeter(servers.redis.pid),
    },
    async clients(order) {
      const child = start('clients', []);
      children.push(child);
      const place = {
        url: `ws://127.0.0.1:${port}`,
        natsUrl: servers.nats.url,
        model: 'hymba-tiny-stories',
      };
      const opened = Promise.withResolvers<void>();
      const report = Promise.withResolvers<ClientReport>();
      let counted: PromiseWithResolvers<Delivered> | null = null;
      child.on('message', (message: ClientMessage) => {
        if ('report' in message) report.resolve(message.report);
        else if ('delivered' in message) counted?.resolve(message.delivered);
        else opened.resolve();
      });
      child.once('exit', (code) => {
        const error = new Error(`the clients ended (${code}) before they were done`);
        opened.reject(error);
        report.reject(error);
        counted?.reject(error);
      });
      child.send({ ...place, ...order });
      await opened.promise;
      return {
        meter: new ProcessMeter(child.pid),
        report: report.promise,
        delivered() {
          counted = Promise.withResolvers();
          child.send('count');
          return counted.promise;
        },
        async end() {
          child.send('end');
          await once(child, 'exit');
        },
      };
    },
    async stop() {
      for (const child of children) child.kill('SIGKILL');
      await gateway.end('SIGTERM');
      await servers.stop();
    },
  };
}

function start(name: string, args: string[]): ChildProcess {
  return fork(fileURLToPath(new URL(`./processes/${name}.ts`, import.meta.url)), args);
}

/** Linux counts a process's time in hundredths of a second. */
const ticksPerSecond = 100;

/** What the kernel says of a process (Linux). */
export class ProcessMeter {
  readonly #pid: number;

  constructor(pid: number | undefined) {
    if (pid === undefined) throw new Error('the process did not start');
    this.#pid = pid;
  }

  /** Seconds of processor time so far, of all its threads. */
  get cpuSeconds(): number {
    const fields = readFileSync(`/proc/${this.#pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
    return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
  }

  /** Resident memory in MB. */
  get memoryMB(): number {
    const [, kB = '0'] = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${this.#pid}/status`, 'utf8')) ?? [];
    return (Number(kB) * 1024) / 1e6;
  }
}
