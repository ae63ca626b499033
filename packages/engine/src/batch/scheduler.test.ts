import { describe, expect, it } from 'vitest';
import { nextToAdmit, type Running, schedule, type Waiting } from './scheduler.ts';
import { batchSettings } from './settings.ts';

const settings = batchSettings({ slots: 4, prefillChunk: 64, stepTokens: 16, stateMemory: 4000 });

let arrivals = 0;
const waiting = (tenant: string, tokensAtEnd = 100): Waiting => ({
  tenant,
  arrival: arrivals++,
  tokensAtEnd,
});
const running = (tenant: string, pending: number): Running => ({ ...waiting(tenant), pending });
const admit = (queue: readonly Waiting[], active: readonly Waiting[]) =>
  nextToAdmit(queue, active, settings, (tokens) => tokens);

describe('who is admitted', () => {
  it('is the one that waits longest, among tenants that have as many slots', () => {
    const queue = [waiting('a'), waiting('b'), waiting('a')];
    expect(admit(queue, [])).toBe(queue[0]);
    expect(admit(queue, [waiting('a'), waiting('b')])).toBe(queue[0]);
    expect(admit(queue.toReversed(), [])).toBe(queue[0]);
  });

  it('is of the tenant with the fewest slots, whoever came first', () => {
    const queue = [waiting('a'), waiting('a'), waiting('b'), waiting('c')];
    expect(admit(queue, [waiting('a')])).toBe(queue[2]);
    expect(admit(queue, [waiting('a'), waiting('b')])).toBe(queue[3]);
    expect(admit(queue, [waiting('a'), waiting('a'), waiting('b'), waiting('c')].slice(0, 3))).toBe(queue[3]);
  });

  it('is nobody where none waits or no slot is free', () => {
    expect(admit([], [])).toBeNull();
    expect(
      admit(
        [waiting('a')],
        Array.from({ length: 4 }, () => waiting('b')),
      ),
    ).toBeNull();
  });

  it('is nobody while the memory of all of them, each as long as the longest, may not suffice', () => {
    const [long, short] = [waiting('a', 2001), waiting('b', 10)];
    expect(admit([long, short], [waiting('c')])).toBeNull();
    expect(admit([{ ...long, tokensAtEnd: 2000 }, short], [waiting('c')])).toMatchObject({
      tokensAtEnd: 2000,
    });
    expect(admit([long, short], [])).toBe(long);
    expect(admit([short], [long])).toBeNull();
  });
});

describe('a step', () => {
  const plan = <Entry extends Running>(active: readonly Entry[], besideStreams = 64) =>
    schedule(active, settings, besideStreams, () => 0);

  it('feeds every sequence that decodes its token', () => {
    const active = [running('a', 1), running('b', 1), running('a', 1)];
    const decoding = active.map((entry) => ({ entry, tokens: 1 }));
    expect(plan(active)).toEqual({ decoding, prefilling: [] });
    expect(plan([])).toEqual({ decoding: [], prefilling: [] });
  });

  it('prefills one chunk at most, small enough for the streams beside it', () => {
    const [first, second, stream] = [running('a', 500), running('a', 70), running('b', 1)];
    expect(plan([first, second]).prefilling).toEqual([{ entry: first, tokens: 64 }]);
    expect(plan([second], 4).prefilling).toEqual([{ entry: second, tokens: 64 }]);
    const decoding = [{ entry: stream, tokens: 1 }];
    expect(plan([stream, first])).toEqual({ decoding, prefilling: [{ entry: first, tokens: 15 }] });
    expect(plan([stream, first], 4)).toEqual({ decoding, prefilling: [{ entry: first, tokens: 4 }] });
    expect(plan([stream, running('c', 6)]).prefilling).toMatchObject([{ tokens: 6 }]);
  });

  it('always gets on with a prefill, whatever the budget', () => {
    const active = [running('a', 1), running('a', 1), running('b', 9)];
    const { decoding, prefilling } = schedule(active, { ...settings, stepTokens: 1 }, 64, () => 0);
    expect([...decoding, ...prefilling].map(({ tokens }) => tokens)).toEqual([1, 1, 1]);
  });

  it('takes turns with the prefills of tenants, and within one goes by arrival', () => {
    const [long, other, late] = [running('a', 900), running('a', 900), running('b', 900)];
    const served: unknown[] = [];
    const lastChunks = new Map<string, number>();
    const lastChunkOf = (tenant: string) => lastChunks.get(tenant) ?? 0;
    for (let step = 1; step <= 6; step++) {
      for (const { entry } of schedule([long, other, late], settings, 64, lastChunkOf).prefilling) {
        lastChunks.set(entry.tenant, step);
        served.push(entry);
      }
    }
    expect(served).toEqual([long, late, long, late, long, late]);
  });
});
