import { DependencyError } from '@baton/errors';
import type { Confirm } from './confirm.ts';
import { findInstaller } from './package-managers.ts';
import { findProgram, programFolders, runCommand } from './run-command.ts';

export type ServerName = 'redis-server' | 'nats-server';

/** Where a server comes from: an installed program, or an image that a Docker engine runs. */
export type ServerSource =
  | { readonly kind: 'program'; readonly path: string }
  | { readonly kind: 'docker'; readonly docker: string; readonly image: string };

export interface FindOptions {
  /** Folders searched for servers, package managers and Docker; the PATH and the usual system folders by default. */
  readonly folders?: readonly string[] | undefined;
  /** Asked before a system package is installed; without it the installation goes ahead. */
  readonly confirm?: Confirm | undefined;
  /** Told, one line at a time, what happens. */
  readonly say?: ((line: string) => void) | undefined;
}

/** Valkey is the fork that some systems carry instead of Redis; it speaks the same protocol. */
const programs: Readonly<Record<ServerName, readonly string[]>> = {
  'redis-server': ['redis-server', 'valkey-server'],
  'nats-server': ['nats-server'],
};

const images: Readonly<Record<ServerName, string>> = {
  'redis-server': 'redis:8-alpine',
  'nats-server': 'nats:2-alpine',
};

const settings: Readonly<Record<ServerName, string>> = {
  'redis-server': 'BATON_REDIS_URL',
  'nats-server': 'BATON_NATS_URL',
};

/**
 * Finds `name` among the installed programs; else installs it with the system's package manager (as root or with a
 * `sudo` that asks for no password); else falls back on a Docker engine that answers.
 * Throws `DependencyError` that says in one line what was tried and what to do.
 */
export async function findServer(name: ServerName, options: FindOptions = {}): Promise<ServerSource> {
  const { folders = programFolders(), confirm, say = () => {} } = options;
  const installed = findProgram(programs[name], folders);
  if (installed !== undefined) return { kind: 'program', path: installed };

  const tried: string[] = [];
  const installer = await findInstaller(name, folders);
  if ('reason' in installer) {
    tried.push(installer.reason);
  } else if (confirm !== undefined && !(await confirm(`${name} is missing. Run "${installer.summary}"?`))) {
    tried.push(`"${installer.summary}" was declined`);
  } else {
    say(`${name} is missing; running: ${installer.summary}`);
    const failure = await installer.install();
    const path = findProgram(programs[name], folders);
    if (path !== undefined) return { kind: 'program', path };
    tried.push(
      `"${installer.summary}" failed${failure === undefined ? '' : ` (${failure.replaceAll('\n', '; ')})`}`,
    );
  }

  const docker = findProgram(['docker'], folders);
  if (docker === undefined) tried.push('Docker is not installed');
  else if (!(await runCommand(docker, ['version', '--format', '{{.Server.Version}}'])).ok) {
    tried.push('no Docker engine answers');
  } else {
    say(`${name} is missing; running it in Docker (${images[name]})`);
    return { kind: 'docker', docker, image: images[name] };
  }
  throw new DependencyError(
    name,
    `${name} was not found: ${tried.join('; ')}. Install ${name}, or set ${settings[name]} to a server that runs.`,
  );
}
