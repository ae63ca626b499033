const float = new Float32Array(1);
const word = new Uint32Array(float.buffer);

/** The bfloat16 next above a scale, as its 16 bits: rounding up keeps the largest value in range. */
export function scaleBits(scale: number): number {
  float[0] = scale;
  const bits = word[0] as number;
  return Math.min(0x7f7f, (bits >>> 16) + ((bits & 0xffff) === 0 ? 0 : 1));
}

export function scaleOf(bits: number): number {
  word[0] = bits << 16;
  return float[0] as number;
}
