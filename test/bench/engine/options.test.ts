import { ConfigurationError } from '@baton/errors';
import { expect, it } from 'vitest';
import { parseOptions } from './options.ts';

const parse = (...args: string[]) => parseOptions(args, '/project', '/here', 6);

it('measures everything on all cores unless told otherwise', () => {
  expect(parse()).toEqual({
    only: ['decode', 'prefill', 'serving', 'interference', 'peers'],
    models: ['tiny', '1.5b'],
    weights: ['fp32', 'int8', 'int4', 'int4-32'],
    threads: 6,
    quick: false,
    json: null,
    cache: '/project/.baton/bench',
  });
});

it('takes lists, and paths from where its user stands', () => {
  expect(parse('--only=decode,peers', '--weights', 'int4', '--quick', '--json', 'out.json')).toMatchObject({
    only: ['decode', 'peers'],
    weights: ['int4'],
    quick: true,
    json: '/here/out.json',
  });
});

it.each([
  [['--models', 'huge'], '--models does not know "huge"; it takes tiny, 1.5b'],
  [['--threads', '0'], '--threads is 0'],
  [['--fast'], "Unknown option '--fast'"],
])('refuses %j by name', (args, message) => {
  expect(() => parse(...args)).toThrow(ConfigurationError);
  expect(() => parse(...args)).toThrow(message);
});
