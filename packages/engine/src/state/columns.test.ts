import { describe, expect, it } from 'vitest';
import { Columns } from './columns.ts';

describe('columns', () => {
  it.each([1, 31, 32, 499, 500, 1203])(
    'take %d rows, give them back, and leave all else as it was',
    (count) => {
      const [width, stride, at, from] = [3, count + 5, 7, 4];
      const rows = Float32Array.from({ length: from + count * width }, (_, i) => i);
      const expected = new Float32Array(at + width * stride).fill(-1);
      for (let n = 0; n < count; n++) {
        for (let i = 0; i < width; i++) expected[at + i * stride + n] = from + n * width + i;
      }
      const columns = new Columns(width);
      const written = new Float32Array(expected.length).fill(-1);
      columns.write(written, at, stride, rows, from, count);
      expect(written).toEqual(expected);
      const read = new Float32Array(from + count * width + 2).fill(-1);
      columns.read(written, at, stride, read, from, count);
      expect(read).toEqual(Float32Array.of(-1, -1, -1, -1, ...rows.subarray(from), -1, -1));
    },
  );
});
