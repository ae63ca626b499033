import { describe, expect, it } from 'vitest';
import { isTooDeep } from './nesting.ts';

const arrays = (levels: number) => JSON.parse(`${'['.repeat(levels)}1${']'.repeat(levels)}`);
const objects = (levels: number) => JSON.parse(`${'{"a":'.repeat(levels)}null${'}'.repeat(levels)}`);

describe('isTooDeep', () => {
  it.each([
    ['a string', 'a', false],
    ['null', null, false],
    ['nothing', undefined, false],
    ['arrays', arrays(256), false],
    ['one array more', arrays(257), true],
    ['objects', objects(256), false],
    ['one object more', objects(257), true],
    ['both', [objects(128), arrays(255)], false],
    ['both and one more', { a: objects(128), b: arrays(256) }, true],
    ['deeper than any stack', arrays(1_000_000), true],
    ['wide', Array.from({ length: 200_000 }, () => ({ a: [] })), false],
  ])('of %s', (_, value, deep) => {
    expect(isTooDeep(value)).toBe(deep);
  });
});
