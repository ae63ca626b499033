import { ServerError } from '@baton/errors';
import { type SessionState, type StateDelta, tokensOf } from '../state/session-state.ts';
import { sharedFloats } from '../state/shared-floats.ts';
import type { StateLayout } from '../state/state-layout.ts';

const bits = 16;
const channels = 32;

/** A global cache and a sliding one, and the states of one layer: all that a real model has, as small as can be. */
export const scriptedLayout: StateLayout = {
  kvHeads: 1,
  keySize: bits,
  valueSize: bits,
  windows: [null, 24],
  layers: 1,
  conv: [1, channels],
  ssm: [2, channels],
  rotation: null,
};

/**
 * A state that remembers `tokens` in signs, which even a coarse codec keeps: each token's bits in its rows, and the bits of
 * a hash of all of them in the recurrent states.
 */
export function scriptedState(tokens: readonly number[], from: number, fingerprint: string): StateDelta {
  const caches = scriptedLayout.windows.map((window) => {
    const first = Math.max(from, tokens.length - (window ?? tokens.length));
    const rows = sharedFloats((tokens.length - first) * bits);
    for (let at = 0; at < rows.length; at++) {
      rows[at] = signOf(tokens[first + Math.floor(at / bits)] ?? 0, at % bits);
    }
    return { count: tokens.length - first, keys: rows, values: rows };
  });
  return {
    fingerprint,
    tokens: tokens.length,
    from,
    caches,
    conv: [hashed(tokens, channels)],
    ssm: [hashed(tokens, 2 * channels)],
  };
}

/** Throws `ServerError` where `state` does not remember exactly the first of `expected`: a wrong restore is then noticed. */
export function checkScriptedState(state: SessionState, expected: readonly number[]): void {
  const count = tokensOf(state);
  const refuse = (what: string) => new ServerError(`the state of ${count} tokens has ${what}`);
  if (count > expected.length) throw refuse(`more than the sequence's ${expected.length}`);
  const wrong = (values: Float32Array | undefined, right: Float32Array) =>
    values?.length !== right.length ||
    values.some((value, at) => Math.sign(value) !== Math.sign(right[at] ?? 0));
  for (const delta of state) {
    for (const [cache, { count: rows, keys, values }] of delta.caches.entries()) {
      const first = delta.tokens - rows;
      const right =
        scriptedState(expected.slice(0, delta.tokens), first, '').caches[0]?.keys ?? sharedFloats(0);
      if (wrong(keys, right) || wrong(values, right))
        throw refuse(`other tokens in cache ${cache} from ${first}`);
    }
  }
  const last = state.at(-1);
  const tokens = expected.slice(0, count);
  if (wrong(last?.conv[0], hashed(tokens, channels))) throw refuse('the convolution of others');
  if (wrong(last?.ssm[0], hashed(tokens, 2 * channels))) throw refuse('the scan of others');
}

function signOf(value: number, bit: number): number {
  return (value >> bit) & 1 ? 1 : -1;
}

/** The bits of an FNV-1a hash of `tokens`, again and again. */
function hashed(tokens: readonly number[], length: number): Float32Array {
  const hash = tokens.reduce((sum, token) => Math.imul(sum ^ token, 0x01000193), 0x811c9dc5);
  const values = sharedFloats(length);
  for (let at = 0; at < length; at++) values[at] = signOf(hash, at % 32);
  return values;
}
