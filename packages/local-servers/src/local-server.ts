import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DependencyError } from '@baton/errors';
import getPort from 'get-port';
import { containerOf, dockerCommand } from './docker.ts';
import { type FindOptions, findServer, type ServerName, type ServerSource } from './find-server.ts';
import { leash } from './leash.ts';
import { logTail, openLog } from './log-file.ts';
import { forgetServer, rememberServer, stopStaleServer } from './pid-file.ts';
import { runCommand } from './run-command.ts';

export interface StartOptions extends FindOptions {
  /** The server's own folder: its data, log (`<name>.log`) and process id. Created when missing. */
  readonly dataDir: string;
  /** Port on 127.0.0.1; a free one by default. */
  readonly port?: number | undefined;
  /** Where the server comes from, when that is known already; otherwise it is looked for. */
  readonly source?: ServerSource | undefined;
}

export interface LocalServer {
  readonly url: string;
  readonly port: number;
  /** Process id of the server, or of the Docker client that runs it. */
  readonly pid: number;
  readonly logFile: string;
  /** Resolves with how the server ended, e.g. "exit code 1" or "SIGKILL". Never rejects. */
  readonly exited: Promise<string>;
  /** Asks the server to end, and ends it after 5 seconds. Its data stays. */
  stop(): Promise<void>;
  /** Sends a signal and does not wait; `exited` tells when the server is gone. */
  kill(signal: NodeJS.Signals): Promise<void>;
}

/** What Redis and NATS differ in. */
export interface ServerKind {
  readonly name: ServerName;
  readonly protocol: 'redis' | 'nats';
  /** The port the server listens on inside its container. */
  readonly containerPort: number;
  args(where: { host: string; port: number; dataDir: string }): string[];
  /** True once the server on `port` answers and is the one with process `pid` (`undefined`: in a container). */
  isReady(port: number, pid: number | undefined): Promise<boolean>;
}

const host = '127.0.0.1';
const startTimeoutMs = 60_000;
const stopTimeoutMs = 5_000;

/**
 * Starts a server of `kind` and waits until it answers. A server that an earlier run left on the same data is
 * stopped first. Throws `DependencyError` with the last lines of the server's log when it does not come up, and
 * `ConfigurationError` when another running process has a server on that data.
 */
export async function startServer(kind: ServerKind, options: StartOptions): Promise<LocalServer> {
  const source = options.source ?? (await findServer(kind.name, options));
  mkdirSync(options.dataDir, { recursive: true });
  const dataDir = realpathSync(options.dataDir);
  await stopStaleServer(kind.name, dataDir, options.say ?? (() => {}));
  const container = containerOf(source, kind.name, dataDir);
  if (container !== undefined) await runCommand(container.docker, ['rm', '-f', container.name]);

  const port = options.port ?? (await getPort({ host }));
  const logFile = join(dataDir, `${kind.name}.log`);
  const log = openLog(logFile);
  const child = launch(kind, source, dataDir, port, log.fd);
  closeSync(log.fd);
  const exited = endOf(child);
  const { pid } = child;
  if (pid === undefined) throw new DependencyError(kind.name, `${kind.name} did not start: ${await exited}`);
  rememberServer(kind.name, dataDir, pid);

  const release = leash(container, pid);
  void exited.then(() => {
    release();
    forgetServer(kind.name, dataDir, pid);
  });

  const kill = async (signal: NodeJS.Signals): Promise<void> => {
    if (container === undefined) child.kill(signal);
    else await runCommand(container.docker, ['kill', '--signal', signal, container.name]);
  };
  const stop = async (): Promise<void> => {
    await kill('SIGTERM');
    const abandon = new AbortController();
    await Promise.race([exited, sleep(stopTimeoutMs, undefined, { signal: abandon.signal }).catch(() => {})]);
    abandon.abort();
    await kill('SIGKILL');
    await exited;
  };

  const failure = await waitUntilReady(kind, port, container === undefined ? pid : undefined, exited);
  if (failure !== undefined) {
    await stop();
    throw new DependencyError(
      kind.name,
      `${kind.name} did not start on port ${port} (${failure}). Its log, ${logFile}, ends with:\n${logTail(logFile, log.start, 5)}`,
    );
  }
  return { url: `${kind.protocol}://${host}:${port}`, port, pid, logFile, exited, stop, kill };
}

/** Detached, so that a Ctrl-C at the terminal reaches the launcher alone, which stops servers last. */
function launch(kind: ServerKind, source: ServerSource, dataDir: string, port: number, log: number) {
  const [program, args] =
    source.kind === 'program'
      ? [source.path, kind.args({ host, port, dataDir })]
      : [source.docker, dockerCommand(kind, source.image, dataDir, host, port)];
  return spawn(program, args, { cwd: dataDir, detached: true, stdio: ['ignore', log, log] });
}

/** Gives `undefined` when the server answers, else why it never will. */
async function waitUntilReady(
  kind: ServerKind,
  port: number,
  pid: number | undefined,
  exited: Promise<string>,
): Promise<string | undefined> {
  let end: string | undefined;
  void exited.then((how) => {
    end = how;
  });
  const deadline = performance.now() + startTimeoutMs;
  while (end === undefined && performance.now() < deadline) {
    if (await kind.isReady(port, pid)) return undefined;
    await Promise.race([exited, sleep(25)]);
  }
  return end ?? `no answer in ${startTimeoutMs / 1000} s`;
}

async function endOf(child: ChildProcess): Promise<string> {
  try {
    const [code, signal] = await once(child, 'exit');
    return signal ?? `exit code ${code}`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
