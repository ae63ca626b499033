import { type SessionState, type StateDelta, type StateLayout, sharedFloats, tokensOf } from '@baton/engine';
import type { Codec, RecurrentPart, RowRange, Rows, RowsWithin } from './codec/codec.ts';
import type { Section } from './codec/sections.ts';
import type { CodecTier } from './codec/tiers.ts';
import type { PageEntry } from './format/manifest.ts';
import { openPage, type PageHead, pageKey, sealPage } from './format/page.ts';
import { SnapshotRefusal } from './refusal.ts';

/** Tokens of a page of keys and values. */
export const pageTokens = 64;

const recurrentParts = ['conv', 'ssm'] as const satisfies RecurrentPart[];

export interface Page {
  readonly entry: PageEntry;
  readonly bytes: Uint8Array;
}

/** Caches with the same window, which share their pages: those of a sliding window go out of use together. */
export interface CacheGroup {
  readonly window: number | null;
  readonly caches: readonly number[];
}

export function cacheGroups({ windows }: StateLayout): CacheGroup[] {
  return [...new Set(windows)].map((window) => ({
    window,
    caches: windows.flatMap((own, cache) => (own === window ? [cache] : [])),
  }));
}

/**
 * The pages of a state: those of `known` that are still right stay as they are, whole ones for good, and the rest is
 * encoded. `fresh` are the latter. Throws `SnapshotRefusal` (`incomplete`) where the state lacks rows that no known page has.
 */
export function pagesOf(
  state: SessionState,
  known: readonly PageEntry[],
  tier: CodecTier,
  codec: Codec,
): { readonly entries: readonly PageEntry[]; readonly fresh: readonly Page[] } {
  const { layout } = codec;
  const tokens = tokensOf(state);
  const entries: PageEntry[] = [];
  const fresh: Page[] = [];
  const add = (page: Page) => {
    fresh.push(page);
    entries.push(page.entry);
  };
  for (const [group, { window, caches }] of cacheGroups(layout).entries()) {
    const lowest = Math.max(0, tokens - (window ?? tokens));
    for (let start = lowest - (lowest % pageTokens); start < tokens; start += pageTokens) {
      const end = Math.min(start + pageTokens, tokens);
      const first = Math.max(start, lowest);
      const covers = ({ first: from, count }: RowRange) =>
        from <= first && from >= start && from + count === end;
      const old = known.find((entry) => entry.part === 'kv' && entry.group === group && covers(entry));
      if (old) {
        entries.push(old);
        continue;
      }
      const { rows, range } = rowsOf(state, caches, { start, first, end });
      // The last page is encoded again and again, and what is newest matters most.
      const isWhole = end - start === pageTokens;
      const ofWhole = isOld(layout, window, tokens - end) ? 'coarse' : 'compact';
      const pageTier = tier !== 'compact' ? tier : isWhole ? ofWhole : 'int8';
      const sections = codec.encodeRows(rows, range, pageTier);
      const raw = 4 * layout.kvHeads * (layout.keySize + layout.valueSize) * range.count * caches.length;
      add(seal({ part: 'kv', tier: pageTier, group, ...range }, sections, raw));
    }
  }
  const newest = state.at(-1) as StateDelta;
  for (const part of recurrentParts) {
    const sections = codec.encodeRecurrent(newest[part], part, tier);
    const raw = newest[part].reduce((sum, { byteLength }) => sum + byteLength, 0);
    add(seal({ part, tier, group: 0, first: tokens, count: 0 }, sections, raw));
  }
  return { entries, fresh };
}

/**
 * Whether a whole page of caches with this window, of tokens that are `behind` the last one, is old. Only one of all tokens can
 * be, once it is further back than a model with windows looks in most of its layers.
 */
function isOld({ windows }: StateLayout, window: number | null, behind: number): boolean {
  return window === null && behind >= Math.min(1024, ...windows.filter((some) => some !== null));
}

/** Those of `known` that are `compact` and have become old at `tokens` tokens. */
export function agedPages(known: readonly PageEntry[], tokens: number, layout: StateLayout): PageEntry[] {
  const groups = cacheGroups(layout);
  return known.filter(({ part, tier, group, first, count }) => {
    const window = groups[group]?.window;
    return (
      part === 'kv' &&
      tier === 'compact' &&
      window !== undefined &&
      isOld(layout, window, tokens - first - count)
    );
  });
}

/**
 * `known`, with those of `pages` that are `agedPages` at `tokens` tokens made coarse: `fresh` are these. Throws `SnapshotRefusal`
 * for a page that does not fit its entry.
 */
export function coarsened(
  known: readonly PageEntry[],
  pages: readonly Page[],
  tokens: number,
  codec: Codec,
): { readonly known: readonly PageEntry[]; readonly fresh: readonly Page[] } {
  const aged = new Set(agedPages(known, tokens, codec.layout).map(({ key }) => key));
  const coarse = new Map(
    pages
      .filter(({ entry }) => aged.has(entry.key))
      .map((page) => [page.entry.key, coarsenedPage(page, codec)] as const),
  );
  return { known: known.map((entry) => coarse.get(entry.key)?.entry ?? entry), fresh: [...coarse.values()] };
}

function coarsenedPage({ entry, bytes }: Page, codec: Codec): Page {
  const { head, sections } = openPage(bytes);
  const caches = cacheGroups(codec.layout)[head.group]?.caches;
  if (!caches || !sameHead(head, entry))
    throw new SnapshotRefusal('corrupted', 'a page is not what its manifest says');
  const rows = codec.decodeRows(sections, caches.length, head, head.tier);
  const within = rows.map((one) => ({ ...one, held: head.count, at: 0 }));
  return seal({ ...head, tier: 'coarse' }, codec.encodeRows(within, head, 'coarse'), entry.rawBytes);
}

/** The state that pages hold. Throws `SnapshotRefusal` for pages that do not fit the layout or their entries. */
export function stateOf(
  pages: readonly Page[],
  codec: Codec,
  { fingerprint, tokens }: Pick<StateDelta, 'fingerprint' | 'tokens'>,
): SessionState {
  const { layout } = codec;
  const groups = cacheGroups(layout);
  const blank: Rows = { keys: sharedFloats(0), values: sharedFloats(0) };
  const byEnd = new Map<number, { from: number; caches: (Rows & { readonly count: number })[] }>();
  const recurrent: Partial<Record<RecurrentPart, Float32Array[]>> = {};
  for (const { entry, bytes } of pages) {
    const { head, sections } = openPage(bytes);
    if (!sameHead(head, entry))
      throw new SnapshotRefusal('corrupted', 'a page is not what its manifest says');
    if (head.part !== 'kv') {
      const parts = head.part === 'recurrent' ? recurrentParts : [head.part];
      const states = codec.decodeRecurrent(sections, parts, head.tier);
      for (const [at, part] of parts.entries()) recurrent[part] = states[at] ?? [];
      continue;
    }
    const group = groups[head.group];
    const end = head.first + head.count;
    if (!group || end > tokens) throw new SnapshotRefusal('corrupted', 'a page is of no cache of this model');
    const rows = codec.decodeRows(sections, group.caches.length, head, head.tier);
    const delta = byEnd.get(end) ?? {
      from: head.first,
      caches: layout.windows.map(() => ({ count: 0, ...blank })),
    };
    byEnd.set(end, delta);
    delta.from = Math.min(delta.from, head.first);
    for (const [index, cache] of group.caches.entries()) {
      delta.caches[cache] = { count: head.count, ...(rows[index] ?? blank) };
    }
  }
  const { conv, ssm } = recurrent;
  if (!conv || !ssm) throw new SnapshotRefusal('incomplete', 'the snapshot lacks a recurrent state');
  const deltas = [...byEnd].sort(([a], [b]) => a - b);
  return deltas.map(([end, { from, caches }]) => ({
    fingerprint,
    tokens: end,
    from,
    caches,
    ...(end === tokens ? { conv, ssm } : { conv: [], ssm: [] }),
  }));
}

function sameHead(a: PageHead, b: PageHead): boolean {
  return (
    a.part === b.part &&
    a.tier === b.tier &&
    a.group === b.group &&
    a.first === b.first &&
    a.count === b.count
  );
}

function seal(head: PageHead, sections: readonly Section[], rawBytes: number): Page {
  const bytes = sealPage(head, sections);
  return { bytes, entry: { ...head, key: pageKey(bytes), bytes: bytes.length, rawBytes } };
}

/** Rows of the tokens from `start`, or where those have left the window already from `first` at the latest, to `end`. */
function rowsOf(
  state: SessionState,
  caches: readonly number[],
  { start, first, end }: { readonly start: number; readonly first: number; readonly end: number },
): { readonly rows: RowsWithin[]; readonly range: RowRange } {
  const count = (delta: StateDelta) => Math.min(...caches.map((cache) => delta.caches[cache]?.count ?? 0));
  const delta = state.findLast(
    (candidate) => candidate.tokens >= end && candidate.tokens - count(candidate) <= first,
  );
  if (!delta) throw new SnapshotRefusal('incomplete', `the state has no rows of tokens ${first} to ${end}`);
  const from = Math.max(start, delta.tokens - count(delta));
  const rows = caches.map((cache): RowsWithin => {
    const { count: held, keys, values } = delta.caches[cache] as StateDelta['caches'][number];
    return { keys, values, held, at: from - (delta.tokens - held) };
  });
  return { rows, range: { first: from, count: end - from } };
}
