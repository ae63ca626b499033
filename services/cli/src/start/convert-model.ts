import { type ConvertOptions, ensureConverted } from '@baton/hymba';
import { formatBytes } from '../format-bytes.ts';
import { showProgress } from '../progress.ts';

/** Gives the folder of the converted model, converting the checkpoint in `modelDir` into `cacheDir` when that is new. */
export async function convertModel(
  modelDir: string,
  { cacheDir, ...forms }: { readonly cacheDir: string } & Pick<ConvertOptions, 'weights' | 'kvCache'>,
  say: (line: string) => void,
): Promise<string> {
  const progress = showProgress(process.stdout);
  let started = false;
  try {
    const { folder } = await ensureConverted(modelDir, cacheDir, {
      ...forms,
      onProgress({ bytesDone, bytesTotal }) {
        if (!started) say(`Converting ${modelDir} (only once) …`);
        started = true;
        progress.update(bytesDone, bytesTotal, `${formatBytes(bytesDone)} of ${formatBytes(bytesTotal)}`);
      },
    });
    return folder;
  } finally {
    progress.stop();
  }
}
