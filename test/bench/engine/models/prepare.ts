import { mkdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import {
  ensureConverted,
  type ReferenceName,
  referenceConfig,
  type WeightForm,
  writeRandomCheckpoint,
} from '@baton/hymba';
import { tinyStoriesCheckpoint } from '@baton/testing';
import type { Subject } from '../jobs/messages.ts';

/** Names on the command line and in reports. */
export const modelNames = ['tiny', '1.5b'] as const;
export type ModelName = (typeof modelNames)[number];

/** A converted model in the cache folder, made when it is not there: hymba-tiny-stories, or random weights. */
export async function prepareModel(
  model: ModelName,
  weights: WeightForm,
  cache: string,
  say: (line: string) => void,
): Promise<Subject> {
  const checkpoint =
    model === 'tiny' ? tinyStoriesCheckpoint() : await randomCheckpoint('hymba-1.5b', cache, say);
  say(`Converting ${model} to ${weights}, unless that is done …`);
  const { folder } = await ensureConverted(checkpoint, join(cache, 'models'), { weights });
  return { model, weights, folder };
}

async function randomCheckpoint(
  like: ReferenceName,
  cache: string,
  say: (line: string) => void,
): Promise<string> {
  const folder = join(cache, `random-${like}`);
  if (await stat(folder).catch(() => null)) return folder;
  say(`Writing a random checkpoint of ${like}'s sizes into ${folder} …`);
  const temporary = `${folder}.partial`;
  await rm(temporary, { recursive: true, force: true });
  await mkdir(cache, { recursive: true });
  await writeRandomCheckpoint(temporary, await referenceConfig(like));
  await rename(temporary, folder);
  return folder;
}
