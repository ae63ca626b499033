/** The bytes of floats, all highest bytes first, then all next ones: exponents side by side are what compresses. */
export function toPlanes(parts: readonly Float32Array[]): Uint8Array {
  const count = parts.reduce((sum, { length }) => sum + length, 0);
  const planes = new Uint8Array(4 * count);
  let at = 0;
  for (const part of parts) {
    const words = new Uint32Array(part.buffer, part.byteOffset, part.length);
    for (let i = 0; i < words.length; i++, at++) {
      const word = words[i] as number;
      // The sign goes below the mantissa, which leaves the exponent a byte of its own.
      const turned = (word << 1) | (word >>> 31);
      planes[at] = turned >>> 24;
      planes[at + count] = turned >>> 16;
      planes[at + 2 * count] = turned >>> 8;
      planes[at + 3 * count] = turned;
    }
  }
  return planes;
}

/** Fills `parts`, one after another, from what `toPlanes` gave. */
export function fromPlanes(planes: Uint8Array, parts: readonly Float32Array[]): void {
  const count = planes.length / 4;
  let at = 0;
  for (const part of parts) {
    const words = new Uint32Array(part.buffer, part.byteOffset, part.length);
    for (let i = 0; i < words.length; i++, at++) {
      const turned =
        ((planes[at] as number) << 24) |
        ((planes[at + count] as number) << 16) |
        ((planes[at + 2 * count] as number) << 8) |
        (planes[at + 3 * count] as number);
      words[i] = (turned >>> 1) | (turned << 31);
    }
  }
}
