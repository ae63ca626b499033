import { describe, expect, it } from 'vitest';
import { type GgufTensor, ggufHeader, tensorBytes } from './header.ts';

const q4: GgufTensor = { name: 'w', type: 'Q4_0', dims: [64, 3] };
const f32: GgufTensor = { name: 'norm', type: 'F32', dims: [5] };

describe('a tensor', () => {
  it('takes whole blocks for each row', () => {
    expect(tensorBytes(q4)).toBe(2 * 18 * 3);
    expect(tensorBytes(f32)).toBe(20);
    expect(() => tensorBytes({ ...q4, dims: [40, 3] })).toThrow('multiple of 32');
  });
});

it('a header is laid out byte for byte as the format says', () => {
  const header = Buffer.from(
    ggufHeader({ a: { type: 'uint32', value: 7 }, b: { type: 'strings', value: ['xy'] } }, [q4, f32]),
  );
  expect(header.subarray(0, 4).toString()).toBe('GGUF');
  expect(header.readUInt32LE(4)).toBe(3);
  expect(header.readBigUInt64LE(8)).toBe(2n);
  expect(header.readBigUInt64LE(16)).toBe(2n);
  // Key "a": length, text, type 4 (uint32), value.
  expect(header.subarray(24, 41).toString('hex')).toBe('0100000000000000' + '61' + '04000000' + '07000000');
  // Key "b": type 9 (array) of type 8 (string), one element of two bytes.
  expect(header.subarray(41, 76).toString('hex')).toBe(
    `${'0100000000000000'}62${'09000000'}${'08000000'}${'0100000000000000'}${'0200000000000000'}7879`,
  );
  // Tensor "w": two sizes, type 2 (Q4_0), offset 0; its 108 bytes are padded to 128, where "norm" begins.
  expect(header.subarray(76, 117).toString('hex')).toBe(
    `${'0100000000000000'}77${'02000000'}${'4000000000000000'}${'0300000000000000'}${'02000000'}${'0000000000000000'}`,
  );
  expect(header.readBigUInt64LE(117 + 8 + 4 + 4 + 8 + 4)).toBe(128n);
  expect(header.length % 32).toBe(0);
});
