import { describe, expect, it } from 'vitest';
import { OutputQueue } from './output-queue.ts';

async function read<T>(queue: OutputQueue<T>): Promise<{ values: T[]; error: unknown }> {
  const values: T[] = [];
  try {
    for await (const value of queue) values.push(value);
    return { values, error: null };
  } catch (error) {
    return { values, error };
  }
}

describe('OutputQueue', () => {
  it('gives values in order, whether they came before or while it was read', async () => {
    const queue = new OutputQueue<number>();
    queue.push(1);
    queue.push(2);
    const reading = read(queue);
    for (let value = 3; value <= 10; value++) {
      await Promise.resolve();
      queue.push(value);
    }
    queue.end();
    queue.push(11);
    expect(await reading).toEqual({ values: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], error: null });
  });

  it('gives a value that came while the one before was handled', async () => {
    const queue = new OutputQueue<number>();
    const iterator = queue[Symbol.asyncIterator]();
    queue.push(1);
    expect(await iterator.next()).toEqual({ value: 1, done: false });
    queue.push(2);
    expect(await iterator.next()).toEqual({ value: 2, done: false });
  });

  it('throws only after what was pushed before', async () => {
    const queue = new OutputQueue<number>();
    const failure = new Error('gone');
    queue.push(1);
    queue.end(failure);
    expect(await read(queue)).toEqual({ values: [1], error: failure });
  });
});
