import { type SessionState, sharedFloats } from '@baton/engine';
import type { HymbaConfig } from '@baton/hymba';

/**
 * The state of a sequence of `tokens` tokens, of small noise: a step over it takes as long as over a real one, without the
 * minutes that a prefill of thousands of tokens takes.
 */
export function madeUpState(config: HymbaConfig, fingerprint: string, tokens: number): SessionState {
  const { kvHeads, keySize, valueSize, convKernel, innerSize, stateSize, layers, slidingWindow } = config;
  const noise = (length: number) => {
    const values = sharedFloats(length);
    for (let i = 0; i < length; i++) values[i] = 0.1 * Math.sin(i);
    return values;
  };
  const perLayer = (length: number) => {
    const values = noise(length);
    return Array.from({ length: layers }, () => values);
  };
  return [
    {
      fingerprint,
      from: 0,
      tokens,
      caches: config.caches.map(({ kind }) => {
        const count = kind === 'sliding' && slidingWindow !== null ? Math.min(tokens, slidingWindow) : tokens;
        return { count, keys: noise(kvHeads * count * keySize), values: noise(kvHeads * count * valueSize) };
      }),
      conv: perLayer((convKernel - 1) * innerSize),
      ssm: perLayer(stateSize * innerSize),
    },
  ];
}
