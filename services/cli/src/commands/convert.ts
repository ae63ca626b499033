import { convert, type KvCacheForm, kvCacheForms, type WeightForm, weightForms } from '@baton/hymba';
import { Command, Option } from 'commander';
import { formatBytes } from '../format-bytes.ts';
import { showProgress } from '../progress.ts';

/** `baton convert [--weights form] [--kv-cache form] <checkpoint> <folder>` */
export function convertCommand(): Command {
  return new Command('convert')
    .description('convert a checkpoint once, by hand, into the form that workers run')
    .argument('<checkpoint>', 'folder of a Hymba checkpoint, as `baton pull` leaves it')
    .argument('<folder>', 'where to put the converted model; must not exist yet')
    .addOption(
      new Option('--weights <form>', 'how its large matrices are stored')
        .choices(weightForms)
        .default('fp32'),
    )
    .addOption(kvCacheOption())
    .action(convertModel);
}

/** What keys and values are to be rounded to. */
export function kvCacheOption(): Option {
  return new Option(
    '--kv-cache <form>',
    'what keys and values are rounded to (default: float32 with fp32 weights, float16 with others)',
  ).choices(kvCacheForms);
}

interface Options {
  readonly weights: WeightForm;
  readonly kvCache?: KvCacheForm;
}

async function convertModel(
  checkpoint: string,
  folder: string,
  { weights, kvCache }: Options,
): Promise<void> {
  const progress = showProgress(process.stderr);
  const model = await convert(checkpoint, folder, {
    weights,
    kvCache,
    onProgress({ bytesDone, bytesTotal }) {
      const text = `${formatBytes(bytesDone)} of ${formatBytes(bytesTotal)}`;
      progress.update(bytesDone, bytesTotal, text);
    },
  }).finally(() => progress.stop());
  process.stdout.write(
    `The converted model (${weights} weights, ${model.kvCache} KV cache, ${formatBytes(model.weightBytes)}) is in ${folder}. ` +
      `Serve it with: BATON_MODEL=${folder} npm start\n`,
  );
}
