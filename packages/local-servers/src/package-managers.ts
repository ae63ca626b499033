import type { ServerName } from './find-server.ts';
import { lastLines } from './log-file.ts';
import { findProgram, runCommand } from './run-command.ts';

interface PackageManager {
  readonly program: string;
  readonly packages: Readonly<Record<ServerName, string>>;
  /** Homebrew installs for the user and refuses to run as root; the others need root. */
  readonly needsRoot: boolean;
  /** Shell lines; the package is `$1`. */
  readonly script: string;
}

// policy-rc.d keeps apt from starting a system-wide Redis on the default port: Baton runs its own.
const aptScript = `
export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  trap 'exit 1' HUP INT TERM
  printf '#!/bin/sh\\nexit 101\\n' >"$policy" && chmod 755 "$policy"
fi
apt-get install -y --no-install-recommends "$1" || { apt-get update && apt-get install -y --no-install-recommends "$1"; }`;

const usualNames = { 'redis-server': 'redis', 'nats-server': 'nats-server' };

const packageManagers: readonly PackageManager[] = [
  {
    program: 'apt-get',
    packages: { 'redis-server': 'redis-server', 'nats-server': 'nats-server' },
    needsRoot: true,
    script: aptScript,
  },
  { program: 'dnf', packages: usualNames, needsRoot: true, script: 'dnf install -y "$1"' },
  { program: 'apk', packages: usualNames, needsRoot: true, script: 'apk add --no-cache "$1"' },
  {
    program: 'pacman',
    packages: { ...usualNames, 'redis-server': 'valkey' },
    needsRoot: true,
    script: 'pacman -Sy --noconfirm --needed "$1"',
  },
  { program: 'brew', packages: usualNames, needsRoot: false, script: 'brew install "$1"' },
];

/** How the system's package manager would install a server. */
export interface Installer {
  /** The command as a person would type it. */
  readonly summary: string;
  /** Gives `undefined` after success, else the package manager's last lines. */
  install(): Promise<string | undefined>;
}

/** Finds a package manager that can install `server` without asking for a password; else says why there is none. */
export async function findInstaller(
  server: ServerName,
  folders: readonly string[],
): Promise<Installer | { readonly reason: string }> {
  const shell = findProgram(['sh'], ['/bin', ...folders]);
  const manager = packageManagers.find(({ program }) => findProgram([program], folders) !== undefined);
  if (shell === undefined || manager === undefined) return { reason: 'no known package manager was found' };
  const packageName = manager.packages[server];
  const isRoot = process.getuid?.() === 0;

  let command = [shell, '-c', manager.script, 'sh', packageName];
  if (manager.needsRoot && !isRoot) {
    const sudo = findProgram(['sudo'], folders);
    if (sudo === undefined || !(await runCommand(sudo, ['-n', 'true'])).ok) {
      return { reason: `${manager.program} needs root, and sudo is not available without a password` };
    }
    command = [sudo, '-n', ...command];
  } else if (!manager.needsRoot && isRoot) {
    return { reason: `${manager.program} does not run as root` };
  }

  const verb = manager.program === 'apk' ? 'add' : manager.program === 'pacman' ? '-S' : 'install';
  return {
    summary: `${manager.needsRoot && !isRoot ? 'sudo ' : ''}${manager.program} ${verb} ${packageName}`,
    async install() {
      const [program = shell, ...args] = command;
      const { ok, output } = await runCommand(program, args);
      return ok ? undefined : lastLines(output, 3);
    },
  };
}
