import { createHash } from 'node:crypto';
import type { GenerationJob } from '@baton/protocol';

/** A beginning that many prompts of a tenant may have, and the session under which its state is kept. */
export interface SharedPrefix {
  readonly session: string;
  readonly tokens: readonly number[];
}

/** The shared beginning of a job's prompt, named by its tokens and the model that reads them; null where it has none. */
export function sharedPrefixOf(
  { prompt, shared_prefix }: GenerationJob,
  fingerprint: string,
): SharedPrefix | null {
  if (shared_prefix === undefined) return null;
  const tokens = prompt.slice(0, shared_prefix);
  const hash = createHash('sha256')
    .update(fingerprint)
    .update(new Uint8Array(Uint32Array.from(tokens).buffer));
  return { session: `prefix-${hash.digest('hex')}`, tokens };
}
