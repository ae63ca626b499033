import type { HymbaConfig } from '../config.ts';

/**
 * cos or sin of every position's angles, [positions, keySize / 2], in the float32 steps of the released code: rounding
 * differently there moves the angles of late positions.
 */
export function ropeTable(config: HymbaConfig, kind: 'cos' | 'sin'): Float32Array<ArrayBuffer> {
  const half = config.keySize / 2;
  const positions = config.metaTokens + config.contextLength;
  const f = Math.fround;
  const table = new Float32Array(positions * half);
  for (let i = 0; i < half; i++) {
    const frequency = f(1 / f(f(config.ropeBase) ** f((2 * i) / config.keySize)));
    for (let position = 0; position < positions; position++) {
      table[position * half + i] = Math[kind](f(position * frequency));
    }
  }
  return table;
}
