import { BatonError, CheckpointError, DependencyError } from '@baton/errors';
import { listFiles, modelInfo } from '@huggingface/hub';
import type { HubRepository } from './hub-errors.ts';
import { hubFetch } from './hub-fetch.ts';
import { type HubFile, hubFile } from './hub-file.ts';

/** What Baton reads of a checkpoint, and the papers that belong to it. Only files at the top of the repository. */
const wanted = [
  /^(config|generation_config)\.json$/,
  /^(tokenizer|tokenizer_config|special_tokens_map|added_tokens)\.json$/,
  /^chat_template\.jinja$/,
  /^[\w.-]+\.safetensors(\.index\.json)?$/,
  /^(README|LICEN[CS]E|NOTICE)(\.\w+)?$/i,
];
const required = { 'config.json': /^config\.json$/, '*.safetensors': /\.safetensors$/ };

export interface Listing {
  /** The commit that the revision stands for now; listing and downloads at it never change. */
  readonly commit: string;
  /** The smallest first, so that a checkpoint that cannot be used is refused before its weights are downloaded. */
  readonly files: readonly HubFile[];
}

/** Lists the files of a repository that Baton needs. Throws `CheckpointError` where it is no safetensors checkpoint. */
export async function listWanted(repository: HubRepository): Promise<Listing> {
  const { endpoint, repoId } = repository;
  const { commit, files } = await list(repository).catch((error: unknown) => {
    if (error instanceof BatonError) throw error;
    const message = `${endpoint} did not answer like a Hugging Face hub: check HF_ENDPOINT`;
    throw new DependencyError('hub', message, { cause: error });
  });
  for (const [name, pattern] of Object.entries(required)) {
    if (files.some(({ path }) => pattern.test(path))) continue;
    throw new CheckpointError(
      'unsupported_checkpoint',
      `${repoId} has no ${name}: Baton serves Hymba checkpoints in safetensors form`,
      { file: name },
    );
  }
  return { commit, files: files.toSorted((a, b) => a.size - b.size) };
}

async function list(repository: HubRepository): Promise<Listing> {
  const { endpoint, repoId, revision, token } = repository;
  const client = {
    hubUrl: endpoint,
    fetch: hubFetch(repository),
    ...(token ? { accessToken: token } : {}),
  };
  const { sha } = await modelInfo({ ...client, name: repoId, revision, additionalFields: ['sha'] });
  const files: HubFile[] = [];
  for await (const entry of listFiles({ ...client, repo: repoId, revision: sha })) {
    // No wanted path holds a slash, so none can lead out of the destination folder.
    if (entry.type !== 'file' || !wanted.some((pattern) => pattern.test(entry.path))) continue;
    const file = hubFile(entry);
    if (!file) {
      throw new DependencyError('hub', `${endpoint} lists ${entry.path} of ${repoId} without a hash`);
    }
    files.push(file);
  }
  return { commit: sha, files };
}
