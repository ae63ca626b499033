import { connect, createServer, type Server, type Socket } from 'node:net';
import { newId, type WorkerEntry } from '@baton/protocol';
import { exampleJob } from '@baton/protocol/testing';
import type { TokenLog } from './token-log.ts';

export const newJob = (tenant = 'default') => exampleJob({ id: newId('resp', tenant), tenant });

export const tokenEntry = (...tokens: number[]): WorkerEntry => ({
  kind: 'tokens',
  tokens,
  text: tokens.map((token) => ` t${token}`).join(''),
});

export const finishEntry = {
  kind: 'finish',
  reason: 'stop',
  usage: { prompt_tokens: 3, cached_tokens: 0, completion_tokens: 1 },
} as const satisfies WorkerEntry;

/** What `worker` gets with its claim. Throws where there is nothing to claim. */
export async function claim(log: TokenLog, job = newJob(), worker = 'w1') {
  const { state, writer } = await log.claim(job, worker);
  if (writer === null) throw new Error('claimed nothing');
  return { job, state, writer };
}

/** A TCP proxy in front of a server that can lose answers and hold requests back. */
export class TcpProxy {
  readonly url: string;
  readonly #server: Server;
  readonly #pairs = new Set<[Socket, Socket]>();
  #swallowing: 'cut' | 'drop' | null = null;
  swallowed = 0;

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.url = `nats://127.0.0.1:${port}`;
  }

  static async start(targetPort: number): Promise<TcpProxy> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const proxy = new TcpProxy(server, typeof address === 'object' && address !== null ? address.port : 0);
    server.on('connection', (client) => proxy.#join(client, connect(targetPort, '127.0.0.1')));
    return proxy;
  }

  #join(client: Socket, target: Socket): void {
    const pair: [Socket, Socket] = [client, target];
    this.#pairs.add(pair);
    const close = () => {
      client.destroy();
      target.destroy();
      this.#pairs.delete(pair);
    };
    for (const socket of pair) socket.on('error', close).on('close', close);
    client.on('data', (data) => target.write(data));
    target.on('data', (data) => {
      // An acknowledgement names the stream and the sequence it stored the entry at.
      if (this.#swallowing === null || !data.includes('"seq":')) {
        client.write(data);
        return;
      }
      this.swallowed++;
      if (this.#swallowing === 'cut') close();
      this.#swallowing = null;
    });
  }

  /** Loses the next acknowledgement of an append; `cut` ends the connection with it. */
  swallowNextAck(how: 'cut' | 'drop'): void {
    this.#swallowing = how;
  }

  /** Holds back everything the client sends, as when its process or its network stops. */
  pause(): void {
    for (const [client] of this.#pairs) client.pause();
  }

  resume(): void {
    for (const [client] of this.#pairs) client.resume();
  }

  async close(): Promise<void> {
    for (const [client, target] of this.#pairs) {
      client.destroy();
      target.destroy();
    }
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}
