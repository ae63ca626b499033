import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { Streams } from './streams.ts';

async function* endless(): AsyncGenerator<number> {
  for (let i = 0; ; i++) {
    await nextTurn();
    yield i;
  }
}

async function* upTo(count: number): AsyncGenerator<number> {
  for await (const i of endless()) {
    if (i === count) return;
    yield i;
  }
}

describe('streams side by side', () => {
  it('give as many gaps as tokens while they are recorded', async () => {
    const streams = new Streams();
    for (let i = 0; i < 3; i++) streams.add(endless());
    await streams.more(2);
    const gaps = await streams.gapsUntil(streams.more(5));
    expect(gaps.length).toBeGreaterThanOrEqual(3 * 5);
    expect(gaps.every((gap) => gap >= 0)).toBe(true);
    const never = streams.more(Number.POSITIVE_INFINITY);
    await streams.stop();
    await never;
  });

  it('fail loudly where one ends too early', async () => {
    const streams = new Streams();
    streams.add(endless());
    streams.add(upTo(3));
    await expect(streams.more(10)).rejects.toThrow('stream 1 ended after 3 tokens');
  });
});
