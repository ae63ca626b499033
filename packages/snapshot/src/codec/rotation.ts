import type { StateLayout } from '@baton/engine';

/** Turns the keys [heads, count, keySize] of the tokens from `first` on, in place: back as they were before the model rotated them, or forth. */
export function rotateKeys(
  keys: Float32Array,
  { rotation, kvHeads, keySize }: StateLayout,
  { first, count }: { readonly first: number; readonly count: number },
  direction: 'back' | 'forth',
): void {
  if (!rotation) return;
  const half = keySize / 2;
  const sign = direction === 'back' ? -1 : 1;
  const cos = new Float32Array(half);
  const sin = new Float32Array(half);
  for (let at = 0; at < count; at++) {
    for (let i = 0; i < half; i++) {
      const angle = (first + at + rotation.offset) * (rotation.frequencies[i] ?? 0);
      cos[i] = Math.cos(angle);
      sin[i] = sign * Math.sin(angle);
    }
    for (let head = 0; head < kvHeads; head++) {
      const row = (head * count + at) * keySize;
      for (let i = 0; i < half; i++) {
        const [a, b] = [keys[row + i] as number, keys[row + half + i] as number];
        keys[row + i] = a * (cos[i] as number) - b * (sin[i] as number);
        keys[row + half + i] = b * (cos[i] as number) + a * (sin[i] as number);
      }
    }
  }
}
