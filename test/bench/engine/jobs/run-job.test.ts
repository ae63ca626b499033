import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { convert } from '@baton/hymba';
import { goldenCheckpoint } from '@baton/testing';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Job } from './messages.ts';
import { runJob } from './run-job.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'baton-bench-'));
});
afterEach(() => rm(folder, { recursive: true }));

it('a job says what its model has too little context for', async () => {
  await convert(goldenCheckpoint('no-sharing'), folder, { weights: 'fp32' });
  const subject = { model: 'golden', weights: 'fp32', folder };
  const notesOf = async (job: Job) => {
    const effort = { threads: 1, milliseconds: 1, bytesPerSecond: 1 };
    const limits = { limit: 50_000, signal: new AbortController().signal };
    return (await runJob(job, effort, limits)).notes;
  };
  expect(await notesOf({ kind: 'decode', subject, batches: [1], contexts: [100] })).toEqual([
    "a context of 100 tokens, 214 at the end: the model's holds 128",
  ]);
  expect(await notesOf({ kind: 'prefill', subject, lengths: [200], chunk: 8 })).toEqual([
    "a prompt of 200 tokens: the model's context holds 128",
  ]);
  expect(await notesOf({ kind: 'interference', subject, streams: 1, prompt: 200 })).toEqual([
    "a prompt of 200 tokens, but one of 126: the model's context holds 128",
  ]);
});
