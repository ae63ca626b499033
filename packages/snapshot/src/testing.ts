import { type SessionState, type StateLayout, sharedFloats } from '@baton/engine';

/** Numbers like those of a Gaussian of the given size, the same for the same seed. */
export function gaussian(length: number, seed: number, size = 1): Float32Array<SharedArrayBuffer> {
  const values = sharedFloats(length);
  let state = seed * 2_654_435_761 + 1;
  const uniform = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return ((state >>> 0) + 0.5) / 2 ** 32;
  };
  for (let i = 0; i < length; i += 2) {
    const radius = size * Math.sqrt(-2 * Math.log(uniform()));
    const angle = 2 * Math.PI * uniform();
    values[i] = radius * Math.cos(angle);
    if (i + 1 < length) values[i + 1] = radius * Math.sin(angle);
  }
  return values;
}

/**
 * A state of `tokens` tokens whose values are noise, as one delta; each channel of the keys has a size of its own. `float16`:
 * keys and values are rounded as an engine with such a KV cache rounds them.
 */
export function noiseState(
  layout: StateLayout,
  tokens: number,
  fingerprint: string,
  seed = 1,
  kvCache: 'float32' | 'float16' = 'float32',
): SessionState {
  const { kvHeads, keySize, valueSize, windows, layers, conv, ssm } = layout;
  let next = seed;
  const perLayer = ([rows, channels]: readonly [number, number], size: number) =>
    Array.from({ length: layers }, () => gaussian(rows * channels, next++, size));
  const caches = windows.map((window) => {
    const count = Math.min(tokens, window ?? tokens);
    const keys = gaussian(kvHeads * count * keySize, next++);
    for (let i = 0; i < keys.length; i++) keys[i] = (keys[i] as number) * 2 ** ((i % keySize) % 4);
    const values = gaussian(kvHeads * count * valueSize, next++, 0.3);
    if (kvCache === 'float16') for (const some of [keys, values]) some.set(new Float16Array(some));
    return { count, keys, values };
  });
  return [{ fingerprint, tokens, from: 0, caches, conv: perLayer(conv, 1), ssm: perLayer(ssm, 0.05) }];
}
