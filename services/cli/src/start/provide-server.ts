import { withoutSecrets } from '@baton/errors';
import {
  confirmAtTerminal,
  findServer,
  logTail,
  type ServerName,
  startNats,
  startRedis,
} from '@baton/local-servers';
import type { Fleet } from './fleet.ts';

const starters = { 'redis-server': startRedis, 'nats-server': startNats } as const;

/**
 * Gives the URL of a server: the one from the settings, or that of a local one, which is found or installed and joins
 * the fleet, so that it is started again on the same port and data should it end.
 */
export async function provideServer(
  name: ServerName,
  givenUrl: string | undefined,
  dataDir: string,
  fleet: Fleet,
  say: (line: string) => void,
): Promise<string> {
  if (givenUrl !== undefined) {
    say(`${name}: using ${withoutSecrets(givenUrl)}`);
    return givenUrl;
  }
  const source = await findServer(name, { confirm: confirmAtTerminal(), say });
  let port: number | undefined;
  let url = '';
  await fleet.launch({
    [name]: async () => {
      const server = await starters[name]({ dataDir, source, port, say });
      ({ port, url } = server);
      const { exited, stop, logFile } = server;
      return { ready: Promise.resolve(), exited, lastWords: () => logTail(logFile, 0, 5), stop };
    },
  });
  say(`${name}: runs on port ${port}`);
  return url;
}
