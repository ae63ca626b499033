import { once } from 'node:events';
import { createServer } from 'node:net';
import { ConfigurationError } from '@baton/errors';

/** Gives `port`, or any free one for 0, when it can be listened on; else throws `ConfigurationError` with what to do. */
export async function freePort(host: string, port: number): Promise<number> {
  const server = createServer();
  try {
    server.listen(port, host);
    await once(server, 'listening');
    const address = server.address();
    return typeof address === 'object' && address !== null ? address.port : port;
  } catch (error) {
    throw new ConfigurationError(explain(host, port, error));
  } finally {
    server.close();
  }
}

function explain(host: string, port: number, error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'EADDRINUSE') {
    return `port ${port} on ${host} is in use: stop what listens there, or choose another with BATON_PORT=${port + 1}`;
  }
  if (code === 'EACCES') return `port ${port} needs root: choose one above 1023 with BATON_PORT=8080`;
  return `BATON_HOST=${host} is not an address of this machine (${String(code ?? error)})`;
}
