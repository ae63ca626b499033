import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { StopStrings } from './stop-strings.ts';

/** Pushes pieces until one stops. */
function run(stops: readonly string[], pieces: readonly string[], armedFrom = 0) {
  const watcher = new StopStrings(stops);
  const given: string[] = [];
  for (const [index, piece] of pieces.entries()) {
    const { text, stopped } = watcher.push(piece, index >= armedFrom);
    given.push(text);
    if (stopped) return { given, stopped };
  }
  return { given: [...given, watcher.flush()], stopped: false };
}

/** The same by definition: the first end of an occurrence, and the longest occurrence that ends there. */
function textBeforeStop(stops: readonly string[], text: string): string | null {
  for (let end = 1; end <= text.length; end++) {
    const lengths = stops.filter((stop) => text.slice(0, end).endsWith(stop)).map((stop) => stop.length);
    if (lengths.length > 0) return text.slice(0, end - Math.max(...lengths));
  }
  return null;
}

describe('StopStrings', () => {
  it.each<[string, string[], string[], string[], boolean]>([
    [
      'passes text on at once where nothing can stop',
      ['\n'],
      ['Once', ' upon'],
      ['Once', ' upon', ''],
      false,
    ],
    ['cuts before the match', ['END'], ['one END two'], ['one '], true],
    [
      'finds a match across pieces, giving none of it',
      ['END'],
      ['one E', 'N', 'D two'],
      ['one ', '', ''],
      true,
    ],
    [
      'gives what turned out to be no match',
      ['END'],
      ['one E', 'N', 'E', 'E!'],
      ['one ', '', 'EN', 'EE!', ''],
      false,
    ],
    ['gives at the end what is held back', ['END'], ['one EN'], ['one ', 'EN'], false],
    ['stops at the first of several', ['two', 'one'], ['x one two'], ['x '], true],
    ['takes the longer of two that end together', ['b', 'ab'], ['xab'], ['x'], true],
    ['does not wait for a longer one', ['abcd', 'bc'], ['xabcd'], ['xa'], true],
    ['holds back the longest beginning of any', ['aab', 'b!'], ['xaa', 'ab'], ['x', 'a'], true],
    ['matches whole characters', ['👩'], ['👨', '👩'], ['👨', ''], true],
    ['ignores what is no text', ['\ud83d'], ['👩'], ['👩', ''], false],
  ])('%s', (_, stops, pieces, given, stopped) => {
    expect(run(stops, pieces)).toEqual({ given, stopped });
  });

  it('lets matches pass while not armed, and stops at one that began before', () => {
    expect(run(['END'], ['END E', 'ND'], 1)).toEqual({ given: ['END ', ''], stopped: true });
    expect(run(['aba'], ['aba', 'ba'], 1)).toEqual({ given: ['ab', ''], stopped: true });
    expect(run(['END'], ['END', 'more'], 1)).toEqual({ given: ['END', 'more', ''], stopped: false });
  });

  it('gives the text before the first stop string, however the text is cut', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 20 });
    const stop = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(fc.array(text, { maxLength: 6 }), fc.array(stop, { maxLength: 3 }), (pieces, stops) => {
        const { given, stopped } = run(stops, pieces);
        const expected = textBeforeStop(stops, pieces.join(''));
        expect(stopped).toBe(expected !== null);
        expect(given.join('')).toBe(expected ?? pieces.join(''));
      }),
      { numRuns: 2000 },
    );
  });
});
