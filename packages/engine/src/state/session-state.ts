import { MessageError } from '@baton/errors';
import type { EngineModel } from '../engine.ts';
import type { KvRows } from './kv-pool.ts';
import type { StateLayout } from './state-layout.ts';

/** What a model remembers of one sequence, as plain data. */
export interface SequenceMemory {
  /** One for each cache of the configuration: the last positions, in order. */
  readonly caches: readonly KvRows[];
  /** The last inputs of each layer's convolution, [K-1, D]. */
  readonly conv: readonly Float32Array[];
  /** Each layer's scan state, [N, D]. */
  readonly ssm: readonly Float32Array[];
}

/** What a session's memory has come to be after `tokens` tokens, without the meta tokens, which every session shares. */
export interface StateDelta extends SequenceMemory {
  /** Of the model that made it: no other can go on from it. */
  readonly fingerprint: string;
  /** How many tokens it remembers. */
  readonly tokens: number;
  /** The caches begin with the row of this token, or with a later one where that has left the window. */
  readonly from: number;
}

/**
 * A session's memory: deltas in order, each of which begins no later than the one before it ends. Rows may come twice, and
 * those outside the window may be missing; convolution and scan are those of the last delta, and may be empty in others.
 * Nobody writes to one, so threads share it.
 */
export type SessionState = readonly StateDelta[];

/** How many tokens a state remembers. */
export function tokensOf(state: SessionState): number {
  return state.at(-1)?.tokens ?? 0;
}

/** Bytes of all values. */
export function stateBytes(state: SessionState): number {
  return state
    .flatMap(({ caches, conv, ssm }) => [
      ...caches.flatMap(({ keys, values }) => [keys, values]),
      ...conv,
      ...ssm,
    ])
    .reduce((sum, { byteLength }) => sum + byteLength, 0);
}

/** The same state without what no model would read: rows that have left their window, recurrent states of the past. */
export function trimState(state: SessionState, { windows }: StateLayout): SessionState {
  const tokens = tokensOf(state);
  const none = { count: 0, keys: new Float32Array(), values: new Float32Array() };
  return state.map((delta, at) => {
    if (at === state.length - 1) return delta;
    const isOut = (window: number | null | undefined) => window != null && delta.tokens <= tokens - window;
    return {
      ...delta,
      caches: delta.caches.map((rows, cache) => (isOut(windows[cache]) ? none : rows)),
      conv: [],
      ssm: [],
    };
  });
}

/** Throws `MessageError` for the state of another model, or where something is missing or has another size. */
export function checkSessionState(
  state: SessionState,
  layout: StateLayout,
  { fingerprint, contextLength }: EngineModel,
): void {
  const refuse = (what: string) => new MessageError('session state', what);
  const expect = (what: string, found: number, right: number) => {
    if (found !== right) throw refuse(`${what} is ${found}; it must be ${right}`);
  };
  const last = state.at(-1);
  if (!last) throw refuse('it has no part');
  let tokens = 0;
  for (const delta of state) {
    if (delta.fingerprint !== fingerprint) {
      throw refuse(`it belongs to model ${delta.fingerprint}; this one is ${fingerprint}`);
    }
    if (!Number.isInteger(delta.tokens) || delta.tokens < tokens || delta.tokens > contextLength) {
      throw refuse(`tokens is ${delta.tokens}; it must be from ${tokens} to ${contextLength}`);
    }
    tokens = delta.tokens;
    checkRows(delta, layout, expect);
  }
  for (const [index, window] of layout.windows.entries()) {
    const first = Math.max(0, tokens - (window ?? tokens));
    const begins = firstRow(state, index);
    if (begins > first) throw refuse(`caches[${index}] begins at token ${begins}; it must begin at ${first}`);
  }
  for (const [name, parts, size] of [
    ['conv', last.conv, layout.conv[0] * layout.conv[1]],
    ['ssm', last.ssm, layout.ssm[0] * layout.ssm[1]],
  ] as const) {
    expect(`${name}.length`, parts.length, layout.layers);
    for (const [layer, values] of parts.entries()) expect(`${name}[${layer}].length`, values.length, size);
  }
}

function checkRows(
  { caches, tokens }: StateDelta,
  { kvHeads, keySize, valueSize, windows }: StateLayout,
  expect: (what: string, found: number, right: number) => void,
): void {
  expect('the number of caches', caches.length, windows.length);
  for (const [index, { count, keys, values }] of caches.entries()) {
    expect(`caches[${index}].count`, count, Math.min(Math.max(0, Math.trunc(count)), tokens));
    expect(`caches[${index}].keys.length`, keys.length, kvHeads * count * keySize);
    expect(`caches[${index}].values.length`, values.length, kvHeads * count * valueSize);
  }
}

/** The first token from which on a cache's rows are there without a gap. */
function firstRow(state: SessionState, cache: number): number {
  let first = tokensOf(state);
  for (const { tokens, caches } of state.toReversed()) {
    if (tokens < first) return first;
    first = Math.min(first, tokens - (caches[cache]?.count ?? 0));
  }
  return first;
}
