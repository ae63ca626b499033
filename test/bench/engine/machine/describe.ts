import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { availableParallelism, cpus, loadavg, platform, release, totalmem } from 'node:os';

/** What the figures were measured on and with. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly instructions: readonly string[];
  readonly memoryGB: number;
  readonly system: string;
  readonly node: string;
  readonly onnxruntime: string;
  /** Work of others, per core, in the minute before: above 0.2 the figures are not to be trusted. */
  readonly loadBefore: number;
}

export async function describeMachine(): Promise<Machine> {
  const cores = availableParallelism();
  const require = createRequire(import.meta.url);
  const flags = await readFile('/proc/cpuinfo', 'utf8').catch(() => '');
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores,
    instructions: ['avx2', 'avx512f', 'avx512_vnni', 'avx_vnni', 'amx_int8'].filter((name) =>
      new RegExp(`\\b${name}\\b`).test(flags),
    ),
    memoryGB: totalmem() / 1e9,
    system: `${platform()} ${release()}`,
    node: process.version,
    onnxruntime: require('onnxruntime-node/package.json').version,
    loadBefore: (loadavg()[0] ?? 0) / cores,
  };
}
