import { readdir } from 'node:fs/promises';
import { ConfigurationError } from '@baton/errors';
import { type ReferenceName, referenceConfig, referenceNames, writeRandomCheckpoint } from '@baton/hymba';
import { Command, Option } from 'commander';
import { formatBytes } from '../format-bytes.ts';
import { showProgress } from '../progress.ts';
import { wholeNumber } from '../whole-number.ts';

/** `baton random-checkpoint --like <model> [--layers n] [--seed n] <folder>` */
export function randomCheckpointCommand(): Command {
  return new Command('random-checkpoint')
    .description('write a checkpoint of random weights, to measure speed and memory without a download')
    .argument('<folder>', 'where to put it; must be empty or not exist yet')
    .addOption(
      new Option('--like <model>', 'whose sizes it has').choices(referenceNames).makeOptionMandatory(),
    )
    .option('--layers <n>', 'only so many of its layers', wholeNumber)
    .option('--seed <n>', 'the same seed gives the same weights', wholeNumber, 1)
    .action(writeCheckpoint);
}

interface Options {
  readonly like: ReferenceName;
  readonly layers?: number;
  readonly seed: number;
}

async function writeCheckpoint(folder: string, { like, layers, seed }: Options): Promise<void> {
  const present = await readdir(folder).catch(() => []);
  if (present.length > 0) {
    throw new ConfigurationError(`${folder} is not empty; give a folder that does not exist yet`);
  }
  const config = await referenceConfig(like, layers).catch((error: unknown) => {
    throw error instanceof RangeError ? new ConfigurationError(`--layers: ${error.message}`) : error;
  });
  const progress = showProgress(process.stderr);
  try {
    await writeRandomCheckpoint(folder, config, {
      seed,
      onProgress({ bytesDone, bytesTotal }) {
        const text = `${formatBytes(bytesDone)} of ${formatBytes(bytesTotal)}`;
        progress.update(bytesDone, bytesTotal, text);
      },
    });
  } finally {
    progress.stop();
  }
  process.stdout.write(
    `A random checkpoint of ${like}'s sizes is in ${folder}. Serve it with: BATON_MODEL=${folder} npm start\n`,
  );
}
