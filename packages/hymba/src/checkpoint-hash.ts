import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, readFile, realpath, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { companionFiles } from './convert.ts';
import { shardIndexFile, shardsOf } from './safetensors/shards.ts';

/** A hash, and what the files were when it was made. */
const memoSchema = z.object({ files: z.string(), hash: z.hash('sha256') });

/**
 * SHA-256 over every file that a conversion reads. Hashing gigabytes takes seconds, so it is remembered in `memoDir` for
 * as long as every file keeps its inode, size and times of change.
 */
export async function checkpointHash(folder: string, memoDir: string): Promise<string> {
  const shards = await shardsOf(folder);
  const names = ['config.json', ...companionFiles, shardIndexFile, ...shards.keys()];
  const present = await presentFiles(folder, names);
  const files = JSON.stringify(present);
  const memoFile = join(memoDir, `${sha256(await realpath(folder))}.json`);
  const memo = await readMemo(memoFile);
  if (memo?.files === files) return memo.hash;

  const hash = createHash('sha256');
  for (const { name, size } of present) {
    hash.update(JSON.stringify([name, size]));
    const blocks = createReadStream(join(folder, name), { highWaterMark: 1 << 22 });
    for await (const block of blocks) hash.update(block as Buffer);
  }
  const result = hash.digest('hex');
  await mkdir(memoDir, { recursive: true });
  // Renamed into place, since another process may be reading it.
  const temporary = `${memoFile}.${randomUUID()}.partial`;
  await writeFile(temporary, JSON.stringify({ files, hash: result }));
  await rename(temporary, memoFile);
  return result;
}

async function presentFiles(folder: string, names: readonly string[]) {
  const found: Record<'name' | 'size' | 'inode' | 'modified' | 'changed', string>[] = [];
  for (const name of names) {
    const stats = await stat(join(folder, name), { bigint: true }).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return null;
      throw error;
    });
    if (!stats) continue;
    const { size, ino, mtimeNs, ctimeNs } = stats;
    found.push({
      name,
      size: `${size}`,
      inode: `${ino}`,
      modified: `${mtimeNs}`,
      changed: `${ctimeNs}`,
    });
  }
  return found;
}

/** A memo that is missing or damaged only costs another hash. */
async function readMemo(file: string): Promise<z.infer<typeof memoSchema> | null> {
  try {
    return memoSchema.parse(JSON.parse(await readFile(file, 'utf8')));
  } catch {
    return null;
  }
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
