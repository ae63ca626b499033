import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** A package that is installed on demand. */
interface Peer {
  readonly name: string;
  readonly version: string;
  /** Its file to import. */
  readonly file: string;
  readonly megabytes: number;
  /** What npm is asked for, and how. */
  readonly packages: readonly string[];
  readonly options: readonly string[];
}

/**
 * What TypeScript users run models with instead. Installed on demand beside the benchmark's other files: with their own
 * runtimes, and platform packages for CUDA and Vulkan, they would make every `npm ci` of the project far heavier.
 */
export const nodeLlamaCpp: Peer = {
  name: 'node-llama-cpp',
  version: '3.22.1',
  file: 'dist/index.js',
  megabytes: 90,
  // The binary of this platform without a GPU.
  packages: ['node-llama-cpp@3.22.1', `@node-llama-cpp/${platformName()}@3.22.1`],
  options: ['--omit=optional'],
};

export const transformersJs: Peer = {
  name: '@huggingface/transformers',
  version: '4.3.1',
  file: 'dist/transformers.node.mjs',
  megabytes: 480,
  packages: ['@huggingface/transformers@4.3.1'],
  options: [],
};

/** Installs a peer unless it is there; gives the file to import. Rejects with what npm said. */
export async function installPeer(peer: Peer, folder: string, say: (line: string) => void): Promise<string> {
  const home = join(folder, peer.name.replace('@', '').replace('/', '-'), peer.version);
  const file = join(home, 'node_modules', peer.name, peer.file);
  if (existsSync(file)) return file;
  say(`Installing ${peer.packages.join(' and ')} into ${home} (about ${peer.megabytes} MB) …`);
  await mkdir(home, { recursive: true });
  await writeFile(join(home, 'package.json'), '{ "private": true }\n');
  // Install scripts would fetch CUDA files, or compile what the platform's package already holds.
  const options = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error', ...peer.options];
  await npm(['install', ...options, ...peer.packages], home);
  return file;
}

function platformName(): string {
  const { platform, arch } = process;
  if (platform === 'darwin') return arch === 'arm64' ? 'mac-arm64-metal' : 'mac-x64';
  return `${platform === 'win32' ? 'win' : platform}-${arch}`;
}

function npm(args: readonly string[], cwd: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn('npm', args, { cwd, stdio: ['ignore', 'ignore', 'pipe'] });
    let stderr = '';
    child.stderr.on('data', (chunk) => {
      stderr += chunk;
    });
    child.once('error', reject);
    child.once('exit', (code) => {
      if (code === 0) resolve();
      else reject(new Error(`npm ${args.join(' ')} failed (exit code ${code}): ${stderr.trim()}`));
    });
  });
}
