import { MessageError } from '@baton/errors';
import type { HymbaConfig } from '@baton/hymba';
import { KvCache, type KvRows } from './kv-cache.ts';

/** A session's memory as plain data, in token order and without the meta tokens, which every session shares. */
export interface SessionStateData {
  /** Of the model that made it: no other can go on from it. */
  readonly fingerprint: string;
  /** How many tokens it remembers. */
  readonly tokens: number;
  /** One for each cache of the configuration: all positions of a global one, those in the window of a sliding one. */
  readonly caches: readonly KvRows[];
  /** The last inputs of each layer's convolution, [K-1, D]. */
  readonly conv: readonly Float32Array[];
  /** Each layer's scan state, [N, D]. */
  readonly ssm: readonly Float32Array[];
}

/** What a step computed: the new tokens' rows, and the recurrent states after them. */
export interface StepMemory {
  readonly tokens: number;
  readonly caches: readonly KvRows[];
  readonly conv: readonly Float32Array[];
  readonly ssm: readonly Float32Array[];
}

/** What the model remembers of one sequence. `conv` and `ssm` are replaced, never written to. */
export class SessionState {
  readonly caches: readonly KvCache[];
  readonly #config: HymbaConfig;
  #length: number;
  #conv: readonly Float32Array[];
  #ssm: readonly Float32Array[];

  /** A state before everything, even before the meta tokens. */
  static blank(config: HymbaConfig): SessionState {
    const perLayer = (size: number) => Array.from({ length: config.layers }, () => new Float32Array(size));
    return new SessionState(config, {
      length: 0,
      caches: config.caches.map(({ kind }) => new KvCache(kind, config)),
      conv: perLayer((config.convKernel - 1) * config.innerSize),
      ssm: perLayer(config.stateSize * config.innerSize),
    });
  }

  private constructor(
    config: HymbaConfig,
    parts: {
      readonly length: number;
      readonly caches: readonly KvCache[];
      readonly conv: readonly Float32Array[];
      readonly ssm: readonly Float32Array[];
    },
  ) {
    this.#config = config;
    this.#length = parts.length;
    this.caches = parts.caches;
    this.#conv = parts.conv;
    this.#ssm = parts.ssm;
  }

  /** Positions held, meta tokens included: the next token's position. */
  get length(): number {
    return this.#length;
  }

  get conv(): readonly Float32Array[] {
    return this.#conv;
  }

  get ssm(): readonly Float32Array[] {
    return this.#ssm;
  }

  /** A copy that goes its own way. */
  clone(): SessionState {
    return new SessionState(this.#config, {
      length: this.#length,
      caches: this.caches.map((cache) => cache.clone()),
      conv: this.#conv,
      ssm: this.#ssm,
    });
  }

  /** Takes in what a step over the next `tokens` tokens computed. */
  advance({ tokens, caches, conv, ssm }: StepMemory): void {
    for (const [index, cache] of this.caches.entries()) {
      const rows = caches[index];
      if (rows) cache.write(this.#length, rows);
    }
    this.#conv = conv;
    this.#ssm = ssm;
    this.#length += tokens;
  }

  toData(fingerprint: string): SessionStateData {
    return {
      fingerprint,
      tokens: this.#length - this.#config.metaTokens,
      caches: this.caches.map((cache) => cache.read(cache.firstHeld(this.#length), this.#length)),
      conv: this.#conv.map((values) => values.slice()),
      ssm: this.#ssm.map((values) => values.slice()),
    };
  }

  /** Goes from a state right after the meta tokens to what `data` says. Throws `MessageError` where it does not fit. */
  restore(data: SessionStateData): void {
    this.#check(data);
    const length = this.#config.metaTokens + data.tokens;
    for (const [index, cache] of this.caches.entries()) {
      const rows = data.caches[index];
      if (rows) cache.write(cache.firstHeld(length), rows);
    }
    this.#conv = data.conv.map((values) => values.slice());
    this.#ssm = data.ssm.map((values) => values.slice());
    this.#length = length;
  }

  #check({ tokens, caches, conv, ssm }: SessionStateData): void {
    const { metaTokens, contextLength, kvHeads, keySize, valueSize, layers, ...config } = this.#config;
    const expect = (what: string, found: number, right: number) => {
      if (found !== right)
        throw new MessageError('session state', `${what} is ${found}; it must be ${right}`);
    };
    if (!Number.isInteger(tokens) || tokens < 0 || tokens > contextLength) {
      throw new MessageError('session state', `tokens is ${tokens}; it must be from 0 to ${contextLength}`);
    }
    const length = metaTokens + tokens;
    expect('the number of caches', caches.length, this.caches.length);
    for (const [index, cache] of this.caches.entries()) {
      const count = length - cache.firstHeld(length);
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
}
