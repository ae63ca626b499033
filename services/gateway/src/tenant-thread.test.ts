import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { TenantThread } from './tenant-thread.ts';

/** Echoes, and dies of `die`. */
const echo = `
const { parentPort } = require('node:worker_threads');
parentPort.on('message', (question) => (question === 'die' ? process.exit(1) : parentPort.postMessage(question)));
`;

let started = 0;
let thread: TenantThread<string, string>;
beforeEach(() => {
  started = 0;
  thread = new TenantThread(
    () => {
      started++;
      return new Worker(echo, { eval: true });
    },
    () => new Error('no answer'),
  );
});
afterEach(() => thread.close());

it('fails the question that its thread dies of, and answers those of others and later ones on another', async () => {
  const [lost, kept] = [thread.ask('acme', 'die'), thread.ask('lone', 'kept')];
  const next = thread.ask('acme', 'next');
  await expect(lost).rejects.toThrow('no answer');
  expect(await Promise.all([kept, next, thread.ask('acme', 'later')])).toEqual(['kept', 'next', 'later']);
  expect(started).toBe(2);
});

it('fails everything once it is closed, also what waited for its turn, and starts no other thread', async () => {
  const asked = ['first', 'second'].map((question) => thread.ask('acme', question));
  const failed = Promise.all(asked.map((answer) => expect(answer).rejects.toThrow('no answer')));
  await thread.close();
  await failed;
  await expect(thread.ask('lone', 'late')).rejects.toThrow('no answer');
  expect(started).toBe(1);
});
