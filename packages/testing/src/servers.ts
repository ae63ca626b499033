import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type LocalServer, type StartOptions, startNats, startRedis } from '@baton/local-servers';

/** A real server on a free port, with its data in a temporary folder. */
export interface TestServer {
  readonly url: string;
  readonly port: number;
  /** Changes when the server restarts. */
  readonly pid: number;
  /** Sends a signal and does not wait. */
  kill(signal: NodeJS.Signals): Promise<void>;
  /** Ends the server, with `signal` if given and politely otherwise, and starts it again on the same port and data. */
  restart(signal?: NodeJS.Signals): Promise<void>;
  /** Ends the server and removes its data. */
  stop(): Promise<void>;
}

export interface TestServers {
  readonly redis: TestServer;
  readonly nats: TestServer;
  stop(): Promise<void>;
}

/** Starts a Redis and a NATS server for one test file: call it in `beforeAll`, and `stop` in `afterAll`. */
export async function startTestServers(): Promise<TestServers> {
  const started = await Promise.allSettled([startTestRedis(), startTestNats()]);
  const servers = started.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  const stop = async () => {
    await Promise.all(servers.map((server) => server.stop()));
  };
  const [redis, nats] = servers;
  if (redis === undefined || nats === undefined) {
    await stop();
    throw started.find((result) => result.status === 'rejected')?.reason;
  }
  return { redis, nats, stop };
}

export const startTestRedis = (): Promise<TestServer> => startTestServer(startRedis);
export const startTestNats = (...args: string[]): Promise<TestServer> =>
  startTestServer((options) => startNats(options, args));

async function startTestServer(start: (options: StartOptions) => Promise<LocalServer>): Promise<TestServer> {
  const dataDir = await mkdtemp(join(tmpdir(), 'baton-test-'));
  const removeData = () => rm(dataDir, { recursive: true, force: true });
  let server: LocalServer;
  try {
    server = await start({ dataDir });
  } catch (error) {
    await removeData();
    throw error;
  }
  return {
    url: server.url,
    port: server.port,
    get pid() {
      return server.pid;
    },
    kill: (signal) => server.kill(signal),
    async restart(signal) {
      if (signal === undefined) await server.stop();
      else await server.kill(signal);
      await server.exited;
      server = await start({ dataDir, port: server.port });
    },
    async stop() {
      await server.stop();
      await removeData();
    },
  };
}
