import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

/** A way to a server that a test can cut. */
export interface TcpProxy {
  /** The server's address through this proxy. */
  readonly url: string;
  /** A partition: connections stay, also new ones, and nothing comes through until `release`, which delivers it. */
  hold(): void;
  /** A lost route: every connection is reset, and new ones at once, until `release`. */
  cut(): void;
  release(): void;
  close(): Promise<void>;
}

/** Stands between clients and the server at `target`, a URL with host and port. */
export async function startTcpProxy(target: string): Promise<TcpProxy> {
  const { hostname, port } = new URL(target);
  const sockets = new Set<Socket>();
  let state: 'open' | 'held' | 'cut' = 'open';

  /** Passes on what `from` gives to `to`, no faster than `to` takes it; the end of one is the end of both. */
  const pass = (from: Socket, to: Socket) => {
    sockets.add(from);
    if (state === 'held') from.pause();
    from.on('data', (data) => {
      if (!to.write(data)) from.pause();
    });
    to.on('drain', () => {
      if (state !== 'held') from.resume();
    });
    // What broke is for both ends to find out, as without a proxy.
    from.on('error', () => {});
    from.on('end', () => to.end());
    from.on('close', () => {
      sockets.delete(from);
      to.destroy();
    });
  };
  const server = createServer((client) => {
    if (state === 'cut') {
      client.on('error', () => {}).resetAndDestroy();
      return;
    }
    client.setNoDelay();
    const upstream = connect({ host: hostname, port: Number(port), noDelay: true });
    pass(client, upstream);
    pass(upstream, client);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new TypeError('the proxy has no port');
  const url = new URL(target);
  url.port = String(address.port);

  const cut = () => {
    state = 'cut';
    for (const socket of sockets) socket.resetAndDestroy();
  };
  return {
    url: url.href.replace(/\/$/, ''),
    hold() {
      state = 'held';
      for (const socket of sockets) socket.pause();
    },
    cut,
    release() {
      state = 'open';
      for (const socket of sockets) socket.resume();
    },
    async close() {
      cut();
      const closed = once(server, 'close');
      server.close();
      await closed;
    },
  };
}
