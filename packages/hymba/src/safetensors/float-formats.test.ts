import { describe, expect, it } from 'vitest';
import { decodeFloats, encodeFloats, type FloatFormat } from './float-formats.ts';

function decode(format: FloatFormat, ...bits: number[]): number[] {
  const bytes = format === 'F32' ? Uint32Array.from(bits) : Uint16Array.from(bits);
  const into = new Float32Array(bits.length);
  decodeFloats(new Uint8Array(bytes.buffer), format, into);
  return [...into];
}

function encode(format: FloatFormat, ...values: number[]): number[] {
  const bytes = new Uint8Array(encodeFloats(Float32Array.from(values), format));
  return [...(format === 'F32' ? new Uint32Array(bytes.buffer) : new Uint16Array(bytes.buffer))];
}

describe('half precision', () => {
  it('is widened exactly: zeros, denormals, extremes, infinities and NaN', () => {
    expect(decode('F16', 0x0000, 0x8000, 0x0001, 0x83ff, 0x0400, 0x3c00, 0x7bff)).toEqual([
      0,
      -0,
      2 ** -24,
      -1023 * 2 ** -24,
      2 ** -14,
      1,
      65504,
    ]);
    expect(decode('F16', 0x7c00, 0xfc00, 0x7e00)).toEqual([
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      Number.NaN,
    ]);
  });

  it('is rounded to the nearest, ties to even', () => {
    const half = 2 ** -11;
    expect(encode('F16', 1 + half, 1 + 3 * half, 1 + half + 2 ** -20)).toEqual([0x3c00, 0x3c02, 0x3c01]);
    expect(encode('F16', 65519, 65520, -1e10, 2 ** -25, Number.NaN)).toEqual([
      0x7bff, 0x7c00, 0xfc00, 0x0000, 0x7e00,
    ]);
  });
});

describe('bfloat16', () => {
  it('is widened exactly: zeros, denormals, extremes, infinities and NaN', () => {
    expect(decode('BF16', 0x0000, 0x8000, 0x0001, 0x3f80, 0xc049, 0x7f7f)).toEqual([
      0,
      -0,
      2 ** -133,
      1,
      -3.140625,
      2 ** 127 * (2 - 2 ** -7),
    ]);
    expect(decode('BF16', 0x7f80, 0xff80, 0x7fc0)).toEqual([
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      Number.NaN,
    ]);
  });

  it('is rounded to the nearest, ties to even, and never from NaN to infinity', () => {
    const half = 2 ** -8;
    expect(encode('BF16', 1 + half, 1 + 3 * half, 1 + half + 2 ** -20)).toEqual([0x3f80, 0x3f82, 0x3f81]);
    expect(encode('BF16', 3.4028235e38, Number.NEGATIVE_INFINITY, 2 ** -149)).toEqual([0x7f80, 0xff80, 0]);
    const [nan = 0] = encode('BF16', Number.NaN);
    expect(nan & 0x7fff).toBeGreaterThan(0x7f80);
  });
});

describe('every format', () => {
  it('reads at odd offsets, where a typed array could not lie', () => {
    const padded = new Uint8Array([9, ...new Uint8Array(Uint16Array.of(0x3f80, 0x4000).buffer)]);
    const into = new Float32Array(2);
    decodeFloats(padded.subarray(1), 'BF16', into);
    expect([...into]).toEqual([1, 2]);
  });

  it.each(['F32', 'F16', 'BF16'] as const)('%s values survive a round trip', (format) => {
    const values = Float32Array.of(0, -1, 0.5, 1.5, -96, 2 ** -14, Number.POSITIVE_INFINITY);
    const into = new Float32Array(values.length);
    decodeFloats(encodeFloats(values, format), format, into);
    expect(into).toEqual(values);
  });
});
