import { byte, choice, literal, type Regular, sequence } from './regular.ts';

/** Code points from the first to the second one. */
export type CodePoints = readonly [from: number, to: number];

export const anyCodePoint: readonly CodePoints[] = [
  [0, 0xd7ff],
  [0xe000, 0x10ffff],
];

/**
 * One character of a set inside a JSON string, written as `JSON.stringify` does: in UTF-8, and escaped only where it has to
 * be. So each string has one spelling, and its characters can be counted.
 */
export function jsonCharacter(set: readonly CodePoints[]): Regular {
  return choice([
    ...escaped.filter((point) => set.some(([from, to]) => point >= from && point <= to)).map(escapeOf),
    ...set.flatMap(([from, to]) => plain.flatMap(([a, b]) => utf8Ranges(Math.max(from, a), Math.min(to, b)))),
  ]);
}

/** The code points that are not in `set`, which may be in any order. */
export function complement(set: readonly CodePoints[]): CodePoints[] {
  let rest: CodePoints[] = [...anyCodePoint];
  for (const [from, to] of set) {
    rest = rest.flatMap(([a, b]) =>
      (
        [
          [a, Math.min(b, from - 1)],
          [Math.max(a, to + 1), b],
        ] as const
      ).filter(([x, y]) => x <= y),
    );
  }
  return rest;
}

const utf8 = new TextEncoder();
const [quote, backslash] = [0x22, 0x5c];
const escaped = [...Array.from({ length: 0x20 }, (_, point) => point), quote, backslash];
const plain: readonly CodePoints[] = [
  [0x20, quote - 1],
  [quote + 1, backslash - 1],
  [backslash + 1, 0xd7ff],
  [0xe000, 0x10ffff],
];

function escapeOf(point: number): Regular {
  return literal(JSON.stringify(String.fromCodePoint(point)).slice(1, -1));
}

/** Ranges of code points as ranges of UTF-8 bytes: those of equal length and equal first bytes go together. */
function utf8Ranges(from: number, to: number): Regular[] {
  if (from > to) return [];
  for (const limit of [0x7f, 0x7ff, 0xffff]) {
    if (from <= limit && limit < to) return [...utf8Ranges(from, limit), ...utf8Ranges(limit + 1, to)];
  }
  if (to <= 0x7f) return [byte(from, to)];
  // Cut until all but the first differing byte run over their whole range.
  for (const bits of [6, 12, 18]) {
    const mask = 2 ** bits - 1;
    if (from >> bits === to >> bits) continue;
    if ((from & mask) !== 0) return [...utf8Ranges(from, from | mask), ...utf8Ranges((from | mask) + 1, to)];
    if ((to & mask) !== mask) return [...utf8Ranges(from, (to & ~mask) - 1), ...utf8Ranges(to & ~mask, to)];
  }
  const first = utf8.encode(String.fromCodePoint(from));
  const last = utf8.encode(String.fromCodePoint(to));
  return [sequence(...Array.from(first, (b, index) => byte(b, last[index])))];
}

/** Any character outside of a string, in UTF-8. */
export const anyCharacter: Regular = choice(anyCodePoint.flatMap(([from, to]) => utf8Ranges(from, to)));
