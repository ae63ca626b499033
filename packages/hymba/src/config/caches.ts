import { CheckpointError } from '@baton/errors';
import type { RawConfig } from './raw-config.ts';

/** One KV cache: its owner's keys and values, read by every layer of the owner's group. */
export interface KvCacheSpec {
  readonly kind: 'global' | 'sliding';
  /** Ascending; the first owns the cache, the others have no key and value rows of their own. */
  readonly layers: readonly number[];
}

/** The caches in the order of their owners. Throws `CheckpointError` for groups that cannot share one. */
export function cachesOf(raw: RawConfig, file: string): KvCacheSpec[] {
  const global = globalLayers(raw, file);
  const kindOf = (layer: number) => (global.has(layer) ? 'global' : 'sliding');
  const groupOf = new Map<number, readonly number[]>();
  for (const [index, group] of (raw.kv_reuse_group ?? []).entries()) {
    const field = `kv_reuse_group.${index}`;
    const found = `${file}: "${field}" is ${JSON.stringify(group)}`;
    const refuse = (code: CheckpointError['code'], right: string) =>
      new CheckpointError(code, `${found}; ${right}`, { file, field });

    const [first = 0] = group;
    for (const [at, layer] of group.entries()) {
      if (layer >= raw.num_hidden_layers) {
        throw refuse('invalid_checkpoint', `there are ${raw.num_hidden_layers} layers`);
      }
      if (at > 0 && layer <= (group[at - 1] ?? layer)) {
        throw refuse('invalid_checkpoint', 'layers must be listed in ascending order');
      }
      if (groupOf.has(layer))
        throw refuse('invalid_checkpoint', `layer ${layer} is already in another group`);
      if (kindOf(layer) !== kindOf(first)) {
        throw refuse('unsupported_checkpoint', 'a group must not mix global and sliding layers');
      }
      groupOf.set(layer, group);
    }
  }
  const caches: KvCacheSpec[] = [];
  for (let layer = 0; layer < raw.num_hidden_layers; layer++) {
    const layers = groupOf.get(layer) ?? [layer];
    if (layers[0] === layer) caches.push({ kind: kindOf(layer), layers });
  }
  return caches;
}

function globalLayers(raw: RawConfig, file: string): Set<number> {
  if (raw.sliding_window === null) return new Set(Array(raw.num_hidden_layers).keys());
  const listed = raw.global_attn_idx ?? [];
  const outside = listed.find((layer) => layer >= raw.num_hidden_layers);
  if (outside !== undefined) {
    throw new CheckpointError(
      'invalid_checkpoint',
      `${file}: "global_attn_idx" names layer ${outside}; there are ${raw.num_hidden_layers} layers`,
      { file, field: 'global_attn_idx' },
    );
  }
  return new Set(listed);
}
