import { expect, it } from 'vitest';
import { Codec } from './codec/codec.ts';
import { openPage, pageKey, sealPage } from './format/page.ts';
import { pagesOf, stateOf } from './pages.ts';
import { fingerprint, history, layout, upTo } from './test-support.ts';

const tokens = 70;
const state = [upTo(history, tokens, 0)];

it('keeps the convolution and the scan apart, and refuses to go on without either', () => {
  const codec = new Codec(layout);
  const { fresh } = pagesOf(state, [], 'exact', codec);
  expect(fresh.slice(-2).map(({ entry }) => [entry.part, entry.rawBytes])).toEqual([
    ['conv', 3 * 3 * 32 * 4],
    ['ssm', 3 * 4 * 32 * 4],
  ]);
  for (const part of ['conv', 'ssm']) {
    const without = fresh.filter(({ entry }) => entry.part !== part);
    expect(() => stateOf(without, codec, { fingerprint, tokens })).toThrow(
      expect.objectContaining({ reason: 'incomplete' }),
    );
  }
});

it('reads both from one page, where they were stored before', () => {
  const codec = new Codec(layout);
  const { fresh } = pagesOf(state, [], 'exact', codec);
  const rows = fresh.slice(0, -2);
  const [conv, ssm] = fresh
    .slice(-2)
    .map(({ bytes }) => openPage(bytes).sections as [Uint8Array, Uint8Array]);
  if (!conv || !ssm) throw new Error('there are two');
  // All highest bytes of float32; then all second ones, all third, all lowest.
  const plane = (sections: [Uint8Array, Uint8Array], at: number) =>
    sections[1].subarray((at * sections[1].length) / 3, ((at + 1) * sections[1].length) / 3);
  const sections = [
    { bytes: Buffer.concat([conv[0], ssm[0]]), compress: true },
    { bytes: Buffer.concat([0, 1, 2].flatMap((at) => [plane(conv, at), plane(ssm, at)])), compress: false },
  ];
  const head = { part: 'recurrent', tier: 'exact', group: 0, first: tokens, count: 0 } as const;
  const bytes = sealPage(head, sections);
  const both = { bytes, entry: { ...head, key: pageKey(bytes), bytes: bytes.length, rawBytes: 0 } };
  const expected = stateOf(fresh, codec, { fingerprint, tokens });
  expect(stateOf([...rows, both], codec, { fingerprint, tokens })).toEqual(expected);
  expect(expected.at(-1)?.ssm.map((values) => [...values])).toEqual(
    state[0]?.ssm.map((values) => [...values]),
  );
});
