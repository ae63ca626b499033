import { describe, expect, it } from 'vitest';
import { formatCell, formatTable } from './table.ts';

describe('a cell', () => {
  it.each([
    [null, '–'],
    ['int4', 'int4'],
    [0, '0'],
    [0.012345, '0.0123'],
    [12.345, '12.3'],
    [99.96, '100'],
    [1234.5, '1,235'],
    [{ median: 2, low: 1.5, high: 1200, count: 9 }, '2 (1.5–1,200)'],
  ])('%j is shown as %s', (cell, text) => expect(formatCell(cell)).toBe(text));
});

it('a table is aligned Markdown', () => {
  const text = formatTable(
    ['weights', 'batch', 'tokens/s'],
    [
      ['int4', 1, { median: 12.34, low: 12, high: 13, count: 3 }],
      ['float32', 16, null],
    ],
  );
  expect(text).toBe(
    [
      '| weights | batch |     tokens/s |',
      '| ------- | ----: | -----------: |',
      '| int4    |     1 | 12.3 (12–13) |',
      '| float32 |    16 |            – |',
    ].join('\n'),
  );
});
