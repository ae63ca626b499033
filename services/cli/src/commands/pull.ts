import http from 'node:http';
import { join } from 'node:path';
import { type PullEvent, pullModel } from '@baton/hymba/hub';
import { Command } from 'commander';
import { formatBytes } from '../format-bytes.ts';
import { showProgress } from '../progress.ts';

/** `baton pull <model> [folder]` */
export function pullCommand(): Command {
  return new Command('pull')
    .description(
      'download a Hymba checkpoint from the Hugging Face hub; goes on where an interrupted pull stopped',
    )
    .argument('<model>', 'owner/name, for example nvidia/Hymba-1.5B-Instruct')
    .argument('[folder]', 'where to put it (default: models/<name>)')
    .option('--revision <name>', 'branch, tag or commit', 'main')
    .addHelpText(
      'after',
      '\nPrivate and gated models need HF_TOKEN; HF_ENDPOINT names another hub; HTTPS_PROXY and NO_PROXY are honoured.',
    )
    .action(pull);
}

async function pull(model: string, folder: string | undefined, options: { revision: string }): Promise<void> {
  http.setGlobalProxyFromEnv();
  const destination = folder ?? join('models', model.split('/').at(-1) ?? model);
  const progress = showProgress(process.stderr);
  let total = 0;
  const onProgress = (event: PullEvent): void => {
    if (event.kind === 'waiting') {
      progress.note(`Another pull works in ${destination}; waiting for it …`);
    } else if (event.kind === 'listed') {
      total = event.bytes;
      const commit = event.revision.slice(0, 12);
      progress.note(`${model} at ${commit}: ${event.files} files, ${formatBytes(total)}`);
    } else if (event.kind === 'retry') {
      progress.note(`Trying again: ${event.reason}`);
    } else {
      const { bytes, file } = event;
      progress.update(bytes, total, `${formatBytes(bytes)} of ${formatBytes(total)} | ${file}`);
    }
  };
  try {
    await pullModel(model, destination, {
      endpoint: process.env['HF_ENDPOINT'],
      token: process.env['HF_TOKEN'],
      revision: options.revision,
      onProgress,
    });
  } finally {
    progress.stop();
  }
  process.stdout.write(
    `${model} is in ${destination}. Serve it with: BATON_MODEL=${destination} npm start\n`,
  );
}
