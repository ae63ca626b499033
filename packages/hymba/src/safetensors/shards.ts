import { access, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CheckpointError } from '@baton/errors';
import { z } from 'zod';

const singleFile = 'model.safetensors';
export const shardIndexFile = 'model.safetensors.index.json';

const indexSchema = z.object({ weight_map: z.record(z.string(), z.string()) });

/**
 * The files of a checkpoint's tensors, each with the tensors that the index expects in it; a single file is its own index.
 * Throws `CheckpointError` for an index that does not parse or that leads out of the folder.
 */
export async function shardsOf(folder: string): Promise<Map<string, string[]>> {
  const isThere = (name: string) =>
    access(join(folder, name)).then(
      () => true,
      () => false,
    );
  if ((await isThere(singleFile)) || !(await isThere(shardIndexFile))) return new Map([[singleFile, []]]);

  const file = join(folder, shardIndexFile);
  const invalid = (message: string, field?: string) =>
    new CheckpointError('invalid_checkpoint', `${file}: ${message}`, {
      file,
      ...(field !== undefined && { field }),
    });
  let json: unknown;
  try {
    json = JSON.parse(await readFile(file, 'utf8'));
  } catch (error) {
    throw invalid(`not readable as JSON: ${(error as Error).message}`);
  }
  const parsed = indexSchema.safeParse(json);
  if (!parsed.success) throw invalid('"weight_map" must map tensor names to file names', 'weight_map');
  const shards = new Map<string, string[]>();
  for (const [tensor, shard] of Object.entries(parsed.data.weight_map)) {
    if (!/^[\w.-]+\.safetensors$/.test(shard)) {
      throw invalid(
        `"${shard}" is not the name of a safetensors file in this folder`,
        `weight_map.${tensor}`,
      );
    }
    const expected = shards.get(shard) ?? [];
    expected.push(tensor);
    shards.set(shard, expected);
  }
  if (shards.size === 0) throw invalid('"weight_map" is empty', 'weight_map');
  return shards;
}
