import { describe, expect, it } from 'vitest';
import { SlotArray } from './slot-array.ts';

/** Three slots of two blocks of two floats, numbered from 1, with room for blocks of five; the last slot is not in use. */
function numbered(): SlotArray {
  const array = new SlotArray(3, 4, 10);
  for (let slot = 0; slot < 3; slot++) array.clear(slot);
  array.view(0, 3).set(Array.from({ length: 12 }, (_, i) => i + 1));
  return array;
}

describe('a slot array that is laid out anew', () => {
  it('keeps every block and adds zeros behind it, whatever lay there', () => {
    const array = numbered();
    array.resize(10, 2, 2);
    expect(Array.from(array.view(0))).toEqual([1, 2, 0, 0, 0, 3, 4, 0, 0, 0]);
    expect(Array.from(array.view(1))).toEqual([5, 6, 0, 0, 0, 7, 8, 0, 0, 0]);
  });

  it('keeps the beginnings of its blocks where they become shorter', () => {
    const array = numbered();
    array.resize(2, 2, 2);
    expect(Array.from(array.view(0, 2))).toEqual([1, 3, 5, 7]);
  });

  it('has them again after it grew and shrank, and forgets what was cut off', () => {
    const array = numbered();
    array.resize(10, 2, 2);
    array.resize(4, 2, 2);
    expect(Array.from(array.view(0, 2))).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    array.resize(2, 2, 2);
    array.resize(4, 2, 2);
    expect(Array.from(array.view(0, 2))).toEqual([1, 0, 3, 0, 5, 0, 7, 0]);
  });
});

describe('the memory of a slot array', () => {
  it('is taken as slots come into use and get longer, and kept until it is trimmed', () => {
    const array = new SlotArray(3, 4, 10);
    expect(array.bytes).toBe(0);
    for (const [slot, bytes] of [16, 32].entries()) {
      array.clear(slot);
      expect(array.bytes).toBe(bytes);
    }
    array.view(0, 2).fill(7);
    expect([array.bytesWith(4, 1), array.bytesWith(10, 2)]).toEqual([32, 80]);
    array.resize(10, 2, 2);
    expect(array.bytes).toBe(80);
    array.resize(2, 2, 1);
    expect(array.bytes).toBe(80);
    array.trim(1);
    expect(array.bytes).toBe(8);
    expect(Array.from(array.view(0))).toEqual([7, 7]);
    array.clear(1);
    expect(Array.from(array.view(0, 2))).toEqual([7, 7, 0, 0]);
  });
});
