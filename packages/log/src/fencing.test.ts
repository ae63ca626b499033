import { FencedError } from '@baton/errors';
import { startTestNats, type TestServer } from '@baton/testing';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { LogWriter } from './log-writer.ts';
import { finishEntry, newJob, tokenEntry } from './test-support.ts';
import { TokenLog } from './token-log.ts';

let nats: TestServer;
let logs: TokenLog[];
beforeAll(async () => {
  nats = await startTestNats();
  logs = await Promise.all([1, 2, 3].map(() => TokenLog.open(nats.url)));
});
afterAll(async () => {
  await Promise.all(logs.map((log) => log.close()));
  await nats.stop();
});

type Step = 'claim' | 'append' | 'push' | 'cancel' | 'finish';

/** What one worker believes to have stored: the token of its n-th append in epoch e is e * 1000 + n. */
async function runWorker(log: TokenLog, job: ReturnType<typeof newJob>, worker: string, steps: Step[]) {
  let writer: LogWriter | null = null;
  let count = 0;
  const acknowledged: number[] = [];
  for (const step of steps) {
    if (step === 'cancel') await log.requestCancel(job.id);
    if (step === 'claim') {
      count = 0;
      ({ writer } = await log.claim(job, worker));
    }
    if (writer === null) continue;
    const token: number = writer.epoch * 1000 + count;
    try {
      if (step === 'append') {
        await writer.append(tokenEntry(token));
        acknowledged.push(token);
        count++;
      } else if (step === 'push') {
        writer.push(tokenEntry(token));
        count++;
      } else if (step === 'finish') {
        await writer.append(finishEntry);
        writer = null;
      }
    } catch (error) {
      expect(error).toBeInstanceOf(FencedError);
      writer = null;
    }
  }
  await writer?.flush().catch((error: unknown) => expect(error).toBeInstanceOf(FencedError));
  return acknowledged;
}

it('keeps the log whole and only owners in it, however claims, appends and cancels interleave', async () => {
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.constant<Step>('append') },
    { weight: 6, arbitrary: fc.constant<Step>('push') },
    { weight: 3, arbitrary: fc.constant<Step>('claim') },
    { weight: 1, arbitrary: fc.constant<Step>('cancel') },
    { weight: 1, arbitrary: fc.constant<Step>('finish') },
  );
  const scripts = fc.tuple(...[1, 2, 3].map(() => fc.array(step, { minLength: 3, maxLength: 40 })));
  let takeovers = 0;
  await fc.assert(
    fc.asyncProperty(scripts, async (workers) => {
      const job = newJob();
      const [reader] = logs;
      const subscription = await reader?.subscribe(job.id);
      await reader?.appendQueued(job);
      const acknowledged = await Promise.all(
        logs.map((log, index) => runWorker(log, job, `w${index}`, workers[index] ?? [])),
      );
      await reader?.appendError(job.id, { code: 'server_error', message: 'end of the test' }, 'test');

      const followed: number[] = [];
      for await (const entry of subscription?.entries() ?? []) {
        if (entry.kind === 'tokens') followed.push(...entry.tokens);
      }
      const state = await reader?.read(job.id);
      expect(state?.tokens).toEqual(followed);
      // What was acknowledged is there.
      expect(followed).toEqual(expect.arrayContaining(acknowledged.flat()));
      // Epochs never go back, and each epoch's tokens are what its owner appended, in order, from the first.
      let [epoch, next] = [0, 0];
      for (const token of followed) {
        const owner = Math.floor(token / 1000);
        if (owner !== epoch) {
          expect(owner).toBeGreaterThan(epoch);
          if (epoch > 0) takeovers++;
          [epoch, next] = [owner, 0];
        }
        expect(token % 1000).toBe(next++);
      }
    }),
    { numRuns: 60 },
  );
  // The scripts did fight.
  expect(takeovers).toBeGreaterThan(10);
});
