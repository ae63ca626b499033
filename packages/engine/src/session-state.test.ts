import { MessageError } from '@baton/errors';
import { type HymbaConfig, maskedBias, readConfig } from '@baton/hymba';
import { goldenCheckpoint } from '@baton/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import { attentionBias } from './attention-bias.ts';
import { KvCache } from './kv-cache.ts';
import { SessionState, type SessionStateData } from './session-state.ts';

let config: HymbaConfig;

/** 4 meta tokens, a window of 8, three KV heads with keys of 16 and values of 32; caches: sliding, global, sliding. */
beforeAll(async () => {
  config = await readConfig(goldenCheckpoint('no-sharing'));
});

/** Rows that say which position and head they are of. */
function rowsOf(first: number, count: number) {
  const fill = (width: number, sign: number) =>
    Float32Array.from({ length: config.kvHeads * count * width }, (_, i) => {
      const head = Math.floor(i / (count * width));
      const position = first + (Math.floor(i / width) % count);
      return sign * (position + head / 10);
    });
  return { count, keys: fill(config.keySize, 1), values: fill(config.valueSize, -1) };
}

function filled(kind: KvCache['kind'], chunks: readonly number[]): { cache: KvCache; length: number } {
  const cache = new KvCache(kind, config);
  let length = 0;
  for (const count of chunks) {
    cache.write(length, rowsOf(length, count));
    length += count;
  }
  return { cache, length };
}

describe('a cache', () => {
  it.each([
    { kind: 'sliding', chunks: [4, 3, 1, 1, 1, 1, 5], first: 8 },
    { kind: 'sliding', chunks: [4, 50], first: 46 },
    { kind: 'sliding', chunks: [4, 2], first: 4 },
    { kind: 'sliding', chunks: [4], first: 4 },
    { kind: 'global', chunks: [4, 3, 1, 100, 24], first: 4 },
  ] as const)(
    '$kind, filled with $chunks rows, holds the positions from $first on',
    ({ kind, chunks, first }) => {
      const { cache, length } = filled(kind, chunks);
      expect(cache.firstHeld(length)).toBe(first);
      expect(cache.read(first, length)).toEqual(rowsOf(first, length - first));
      expect(cache.read(0, config.metaTokens)).toEqual(rowsOf(0, config.metaTokens));
    },
  );

  it('grows no further than its window', () => {
    expect(filled('sliding', [4, 60]).cache.capacity).toBe(12);
    expect(filled('global', [4, 124]).cache.capacity).toBe(128);
    expect(filled('global', [4, 125]).cache.capacity).toBe(132);
  });

  it('is not changed by what happens to its copy', () => {
    const { cache, length } = filled('sliding', [4, 6]);
    cache.clone().write(length, rowsOf(length, 9));
    expect(cache.read(4, length)).toEqual(rowsOf(4, 6));
  });
});

describe('the mask', () => {
  it.each([
    { kind: 'sliding', chunks: [], tokens: 4 },
    { kind: 'sliding', chunks: [4], tokens: 30 },
    { kind: 'sliding', chunks: [4, 5], tokens: 1 },
    { kind: 'sliding', chunks: [4, 11], tokens: 7 },
    { kind: 'sliding', chunks: [4, 40], tokens: 1 },
    { kind: 'global', chunks: [4, 40], tokens: 3 },
  ] as const)('of $tokens tokens over a $kind cache of $chunks rows', ({ kind, chunks, tokens }) => {
    const { cache, length } = filled(kind, chunks);
    const bias = attentionBias(config, cache, { length, tokens });
    const span = cache.capacity + tokens;
    expect(bias).toHaveLength(tokens * span);

    const positions = new Map<number, number>();
    for (let key = 0; key < length; key++) {
      if (key < config.metaTokens || key >= cache.firstHeld(length)) positions.set(cache.rowOf(key), key);
    }
    for (let i = 0; i < tokens; i++) positions.set(cache.capacity + i, length + i);

    for (const [index, value] of bias.entries()) {
      const query = length + Math.floor(index / span);
      const key = positions.get(index % span);
      expect(value, `query ${query}, key ${key}`).toBe(isVisible(kind, query, key) ? 0 : maskedBias);
    }
    // Every key that the definition lets a query see is there to be seen.
    for (let query = length; query < length + tokens; query++) {
      const held = new Set(positions.values());
      for (let key = 0; key <= query; key++) if (isVisible(kind, query, key)) expect(held).toContain(key);
    }
  });

  function isVisible(kind: KvCache['kind'], query: number, key: number | undefined): boolean {
    if (key === undefined || key > query) return false;
    return kind === 'global' || query - key <= 8 || key < 4;
  }
});

describe('a state', () => {
  function advanced(tokens: number): SessionState {
    const state = SessionState.blank(config);
    for (const count of [config.metaTokens, tokens]) {
      state.advance({
        tokens: count,
        caches: config.caches.map(() => rowsOf(state.length, count)),
        conv: state.conv.map((values, layer) => new Float32Array(values.length).fill(layer)),
        ssm: state.ssm.map((values, layer) => new Float32Array(values.length).fill(-layer)),
      });
    }
    return state;
  }

  it('comes back from its data', () => {
    const data = structuredClone(advanced(20).toData('model'));
    expect(data).toMatchObject({ fingerprint: 'model', tokens: 20 });
    expect(data.caches.map(({ count }) => count)).toEqual([8, 20, 8]);
    const restored = advanced(0);
    restored.restore(data);
    expect(restored.length).toBe(24);
    expect(restored.toData('model')).toEqual(data);
  });

  it('does not share what changes with its copy', () => {
    const state = advanced(5);
    const before = state.toData('model');
    const copy = state.clone();
    copy.advance({ tokens: 1, caches: config.caches.map(() => rowsOf(9, 1)), conv: [], ssm: [] });
    expect(state.toData('model')).toEqual(before);
  });

  it.each<{ title: string; damage: (data: SessionStateData) => SessionStateData }>([
    { title: 'too many tokens', damage: (data) => ({ ...data, tokens: 129 }) },
    { title: 'half a token', damage: (data) => ({ ...data, tokens: 1.5 }) },
    { title: 'more tokens than rows', damage: (data) => ({ ...data, tokens: data.tokens + 1 }) },
    { title: 'a missing cache', damage: (data) => ({ ...data, caches: data.caches.slice(1) }) },
    {
      title: 'keys that are cut off',
      damage: (data) => ({
        ...data,
        caches: data.caches.map((rows) => ({ ...rows, keys: rows.keys.slice(1) })),
      }),
    },
    { title: 'a missing layer', damage: (data) => ({ ...data, ssm: data.ssm.slice(1) }) },
    { title: 'a conv state of another size', damage: (data) => ({ ...data, conv: data.ssm }) },
  ])('refuses data with $title and stays as it was', ({ damage }) => {
    const state = advanced(0);
    const before = state.toData('model');
    expect(() => state.restore(damage(advanced(20).toData('model')))).toThrow(MessageError);
    expect(state.toData('model')).toEqual(before);
  });
});
