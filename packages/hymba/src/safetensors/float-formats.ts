/** Float formats that a checkpoint's weights may have, with their bytes per element. */
export const floatBytes = { F32: 4, F16: 2, BF16: 2 } as const;
export type FloatFormat = keyof typeof floatBytes;

/**
 * Widens little-endian `bytes` of `format` to float32, exactly. `into` must have one element for each element of `bytes`.
 */
export function decodeFloats(bytes: Uint8Array, format: FloatFormat, into: Float32Array): void {
  switch (format) {
    case 'F32':
      new Uint8Array(into.buffer, into.byteOffset, into.byteLength).set(bytes);
      return;
    case 'F16':
      into.set(new Float16Array(aligned(bytes).buffer));
      return;
    case 'BF16': {
      const halves = new Uint16Array(aligned(bytes).buffer);
      const bits = new Uint32Array(into.buffer, into.byteOffset, into.length);
      for (let i = 0; i < halves.length; i++) bits[i] = (halves[i] ?? 0) << 16;
    }
  }
}

/** Rounds to the nearest value of `format`, ties to even, as PyTorch does. */
export function encodeFloats(values: Float32Array, format: FloatFormat): Uint8Array {
  switch (format) {
    case 'F32':
      return new Uint8Array(values.slice().buffer);
    case 'F16':
      return new Uint8Array(new Float16Array(values).buffer);
    case 'BF16': {
      const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
      const halves = new Uint16Array(bits.length);
      for (let i = 0; i < bits.length; i++) halves[i] = roundToBfloat16(bits[i] ?? 0);
      return new Uint8Array(halves.buffer);
    }
  }
}

function roundToBfloat16(bits: number): number {
  const isNan = (bits & 0x7fff_ffff) > 0x7f80_0000;
  // Rounding could carry a NaN's payload into infinity, so it is made quiet instead.
  if (isNan) return (bits >>> 16) | 0x40;
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

/** A typed array needs its own aligned memory; tensors in a file lie anywhere. */
function aligned(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes);
}
