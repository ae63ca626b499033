import { createHash } from 'node:crypto';
import type { ServerName, ServerSource } from './find-server.ts';
import type { ServerKind } from './local-server.ts';

/** A server's container, and the Docker client that reaches it. */
export interface Container {
  readonly docker: string;
  readonly name: string;
}

export function containerOf(source: ServerSource, name: ServerName, dataDir: string): Container | undefined {
  return source.kind === 'docker' ? { docker: source.docker, name: containerName(name, dataDir) } : undefined;
}

/** One name for each data folder, so that a container left by an earlier run is found again. */
function containerName(name: ServerName, dataDir: string): string {
  return `baton-${name}-${createHash('sha256').update(dataDir).digest('hex').slice(0, 12)}`;
}

/** Arguments of `docker run`: the data folder mounted, one port published on `host`, files owned by this user. */
export function dockerCommand(
  kind: ServerKind,
  image: string,
  dataDir: string,
  host: string,
  port: number,
): string[] {
  const user = process.getuid && process.getgid ? [`--user=${process.getuid()}:${process.getgid()}`] : [];
  return [
    'run',
    '--rm',
    '--init',
    `--name=${containerName(kind.name, dataDir)}`,
    `--publish=${host}:${port}:${kind.containerPort}`,
    `--volume=${dataDir}:/data`,
    ...user,
    image,
    kind.name,
    ...kind.args({ host: '0.0.0.0', port: kind.containerPort, dataDir: '/data' }),
  ];
}
