import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Ranker } from './ranker.ts';

describe('Ranker', () => {
  it('ranks like a stable sort, by either method', () => {
    const values = fc.array(fc.oneof(fc.float({ noNaN: true }), fc.constantFrom(0, -0, 1, -1)), {
      minLength: 300,
      maxLength: 400,
    });
    fc.assert(
      fc.property(values, fc.integer({ min: 1, max: 400 }), (list, count) => {
        const logits = Float32Array.from(list);
        const expected = [...logits.keys()].sort((a, b) => (logits[b] ?? 0) - (logits[a] ?? 0) || a - b);
        expect([...new Ranker(logits.length).top(logits, count)]).toEqual(expected.slice(0, count));
      }),
    );
  });
});
