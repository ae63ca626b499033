import { convert } from '@baton/hymba';
import { Command } from 'commander';
import { formatBytes } from '../format-bytes.ts';
import { showProgress } from '../progress.ts';

/** `baton convert <checkpoint> <folder>` */
export function convertCommand(): Command {
  return new Command('convert')
    .description('convert a checkpoint once, by hand, into the form that workers run')
    .argument('<checkpoint>', 'folder of a Hymba checkpoint, as `baton pull` leaves it')
    .argument('<folder>', 'where to put the converted model; must not exist yet')
    .action(convertModel);
}

async function convertModel(checkpoint: string, folder: string): Promise<void> {
  const progress = showProgress(process.stderr);
  try {
    await convert(checkpoint, folder, {
      onProgress({ bytesDone, bytesTotal }) {
        const text = `${formatBytes(bytesDone)} of ${formatBytes(bytesTotal)}`;
        progress.update(bytesDone, bytesTotal, text);
      },
    });
  } finally {
    progress.stop();
  }
  process.stdout.write(
    `The converted model is in ${folder}. Serve it with: BATON_MODEL=${folder} npm start\n`,
  );
}
