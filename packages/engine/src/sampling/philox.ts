/**
 * Philox4x32-10, a counter-based generator: four random 32-bit words that depend on nothing but counter and key
 * (Salmon, Moraes, Dror, Shaw: Parallel Random Numbers: As Easy as 1, 2, 3; SC11).
 */
export function philox4x32(counter: Words<4>, key: Words<2>): Words<4> {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const high0 = multiplyHigh(0xd2511f53, c0);
    const low0 = Math.imul(0xd2511f53, c0);
    const high1 = multiplyHigh(0xcd9e8d57, c2);
    const low1 = Math.imul(0xcd9e8d57, c2);
    [c0, c1, c2, c3] = [high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0];
    k0 = (k0 + 0x9e3779b9) | 0;
    k1 = (k1 + 0xbb67ae85) | 0;
  }
  return [c0 >>> 0, c1 >>> 0, c2 >>> 0, c3 >>> 0];
}

/** A number in [0, 1) with 53 random bits, a function of seed (any safe integer) and position alone. */
export function uniform(seed: number, position: number): number {
  const [a, b] = philox4x32([...lowHigh(position), 0, 0], lowHigh(seed));
  return ((a >>> 5) * 2 ** 26 + (b >>> 6)) / 2 ** 53;
}

type Words<N extends 2 | 4> = N extends 2
  ? readonly [number, number]
  : readonly [number, number, number, number];

/** The two's complement of a safe integer, as 32-bit words. */
function lowHigh(value: number): Words<2> {
  return [value >>> 0, Math.floor(value / 2 ** 32) >>> 0];
}

/** Upper half of the 64-bit product of two unsigned 32-bit integers. */
function multiplyHigh(a: number, b: number): number {
  const a0 = a & 0xffff;
  const a1 = a >>> 16;
  const b0 = b & 0xffff;
  const b1 = b >>> 16;
  const middle = a1 * b0 + ((a0 * b0) >>> 16);
  const carry = (middle & 0xffff) + a0 * b1;
  return (a1 * b1 + Math.floor(middle / 2 ** 16) + Math.floor(carry / 2 ** 16)) | 0;
}
