import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

async function query(field: string): Promise<string | null> {
  try {
    const { stdout } = await promisify(execFile)('nvidia-smi', [
      `--query-gpu=${field}`,
      '--format=csv,noheader,nounits',
    ]);
    return stdout.trim().split('\n')[0] ?? null;
  } catch {
    return null;
  }
}

/** The GPU and its driver as its vendor's tool names them. */
export async function gpuName(): Promise<string> {
  return (await query('name,driver_version')) ?? 'a GPU that nvidia-smi does not know';
}

/** Gigabytes in use on the GPU, by anyone; null where nobody says. */
export async function usedGB(): Promise<number | null> {
  const used = await query('memory.used');
  return used === null ? null : (Number(used) * 2 ** 20) / 1e9;
}
