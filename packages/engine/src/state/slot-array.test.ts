import { describe, expect, it } from 'vitest';
import { SlotArray } from './slot-array.ts';

/** Three slots of two blocks of two floats, numbered from 1, with room for blocks of five; the last slot is not in use. */
function numbered(): SlotArray {
  const array = new SlotArray(3, 4, 10);
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
