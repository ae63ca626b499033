import { spawn } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Folders that hold servers and package managers but are often missing from a user's PATH. */
const usualFolders = [
  '/usr/local/bin',
  '/usr/bin',
  '/usr/local/sbin',
  '/usr/sbin',
  '/sbin',
  '/opt/homebrew/bin',
];

/** Folders to search for programs: those on the PATH, then the usual ones. */
export function programFolders(path = process.env['PATH'] ?? ''): readonly string[] {
  return [...new Set([...path.split(delimiter).filter((folder) => folder !== ''), ...usualFolders])];
}

/** Full path of the first of `names` that is an executable file in one of `folders`. */
export function findProgram(names: readonly string[], folders: readonly string[]): string | undefined {
  for (const name of names) {
    for (const folder of folders) {
      const path = join(folder, name);
      try {
        accessSync(path, constants.X_OK);
        if (statSync(path).isFile()) return path;
      } catch {
        // Not there, or not executable by us: look further.
      }
    }
  }
  return undefined;
}

export interface CommandResult {
  readonly ok: boolean;
  /** Standard output and error together, in order of arrival. */
  readonly output: string;
}

/** Runs a program to its end without a shell and without input. Never throws for a program that fails. */
export function runCommand(program: string, args: readonly string[]): Promise<CommandResult> {
  return new Promise((resolve) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const collect = (chunk: Buffer) => {
      output += chunk.toString();
    };
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    child.once('error', (error) => resolve({ ok: false, output: error.message }));
    child.once('close', (code) => resolve({ ok: code === 0, output }));
  });
}
