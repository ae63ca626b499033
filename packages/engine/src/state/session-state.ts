import { MessageError } from '@baton/errors';
import type { HymbaConfig } from '@baton/hymba';
import type { KvRows } from './kv-pool.ts';
import { rowLimit } from './state-size.ts';

/** What a model remembers of one sequence, as plain data. */
export interface SequenceMemory {
  /** One for each cache of the configuration: the last positions, in order. */
  readonly caches: readonly KvRows[];
  /** The last inputs of each layer's convolution, [K-1, D]. */
  readonly conv: readonly Float32Array[];
  /** Each layer's scan state, [N, D]. */
  readonly ssm: readonly Float32Array[];
}

/**
 * A session's memory without the meta tokens, which every session shares: of global caches all positions, of sliding ones
 * those in the window.
 */
export interface SessionStateData extends SequenceMemory {
  /** Of the model that made it: no other can go on from it. */
  readonly fingerprint: string;
  /** How many tokens it remembers. */
  readonly tokens: number;
}

/** Throws `MessageError` for data of another model, or where something is missing or has another size. */
export function checkSessionState(data: SessionStateData, config: HymbaConfig, fingerprint: string): void {
  const { tokens, caches, conv, ssm } = data;
  const { metaTokens, contextLength, kvHeads, keySize, valueSize, layers } = config;
  const refuse = (what: string) => new MessageError('session state', what);
  const expect = (what: string, found: number, right: number) => {
    if (found !== right) throw refuse(`${what} is ${found}; it must be ${right}`);
  };
  if (data.fingerprint !== fingerprint) {
    throw refuse(`it belongs to model ${data.fingerprint}; this one is ${fingerprint}`);
  }
  if (!Number.isInteger(tokens) || tokens < 0 || tokens > contextLength) {
    throw refuse(`tokens is ${tokens}; it must be from 0 to ${contextLength}`);
  }
  expect('the number of caches', caches.length, config.caches.length);
  for (const [index, { kind }] of config.caches.entries()) {
    const count = Math.min(tokens, rowLimit(config, kind) - metaTokens);
    const rows = caches[index];
    expect(`caches[${index}].count`, rows?.count ?? 0, count);
    expect(`caches[${index}].keys.length`, rows?.keys.length ?? 0, kvHeads * count * keySize);
    expect(`caches[${index}].values.length`, rows?.values.length ?? 0, kvHeads * count * valueSize);
  }
  for (const [name, parts, size] of [
    ['conv', conv, (config.convKernel - 1) * config.innerSize],
    ['ssm', ssm, config.stateSize * config.innerSize],
  ] as const) {
    expect(`${name}.length`, parts.length, layers);
    for (const [layer, values] of parts.entries()) expect(`${name}[${layer}].length`, values.length, size);
  }
}
