import type { Effort, Job, Subject } from './jobs/messages.ts';
import type { Options, Part } from './options.ts';

const minute = 60_000;

/** What a part measures of one model; the peers have a plan of their own. */
export function jobOf(part: Exclude<Part, 'peers'>, subject: Subject, { quick }: Options): Job {
  switch (part) {
    case 'decode':
      return {
        kind: 'decode',
        subject,
        batches: quick ? [1, 8] : [1, 2, 4, 8, 16],
        contexts: quick ? [1024] : [256, 1024, 4096],
      };
    case 'prefill':
      // 64 tokens: the engine's own chunk.
      return {
        kind: 'prefill',
        subject,
        lengths: quick ? [64, 512] : [64, 128, 256, 512, 1024, 2048],
        chunk: 64,
      };
    case 'serving':
      return {
        kind: 'serving',
        subject,
        choices: ['greedy', 'top-p 0.9'],
        batches: [1, 8],
        prompt: servedPrompt,
      };
    case 'interference':
      return { kind: 'interference', subject, streams: 4, prompt: quick ? 512 : 2048 };
  }
}

/** Tokens of the prompts that the engine and its peers are compared at. */
export const servedPrompt = 64;

export function effortOf({ threads, quick }: Options, bytesPerSecond: number): Effort {
  return { threads, milliseconds: quick ? 1000 : 4000, bytesPerSecond };
}

/** Longest that one job may take, in ms. */
export const limitOf = ({ quick }: Options): number => (quick ? 5 : 15) * minute;
