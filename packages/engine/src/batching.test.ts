import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { convert } from '@baton/hymba';
import { exampleJob } from '@baton/protocol/testing';
import { goldenCheckpoint, goldenNames, tinyStoriesCheckpoint } from '@baton/testing';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BatchLoop } from './batch/batch-loop.ts';
import type { EngineRequest } from './engine.ts';
import { ModelRunner } from './model-runner.ts';
import type { Slot } from './state/state-pool.ts';
import { byteVocabulary } from './testing/byte-vocabulary.ts';

const checkpoints = [
  ...goldenNames.map((name) => ({ name, folder: goldenCheckpoint(name) })),
  { name: 'hymba-tiny-stories', folder: tinyStoriesCheckpoint() },
];

/** Most that company may change a logit, as a part of the largest one: a product of one row adds up in another order. */
const tolerance = 1e-5;
const slots = 4;
const sequences = 6;
/** Several times the golden checkpoints' windows, so that their rings wrap. */
const length = 60;

describe.each(checkpoints)('$name under batching', ({ folder }) => {
  let temporary: string;
  let runner: ModelRunner;
  /** For each sequence the logits at every position, fed token by token with nobody beside it. */
  let alone: Float32Array[][];

  beforeAll(async () => {
    temporary = await mkdtemp(join(tmpdir(), 'baton-batching-'));
    await convert(folder, join(temporary, 'model'));
    runner = await ModelRunner.open(join(temporary, 'model'), { threads: 1, slots });
    alone = [];
    for (let sequence = 0; sequence < sequences; sequence++) {
      const state = runner.newState();
      const logits: Float32Array[] = [];
      for (const id of idsOf(sequence)) logits.push(await runner.run(state, { ids: [id], rows: [0] }));
      alone.push(logits);
      runner.freeState(state);
    }
  });

  afterAll(async () => {
    await runner?.close();
    await rm(temporary, { recursive: true, force: true });
  });

  /** The tokens of a sequence, others for each number. */
  const idsOf = (sequence: number) =>
    Array.from({ length }, (_, i) => (i * i * 13 + i * 7 + sequence * 101) % byteVocabulary.size);

  function expectAsAlone(logits: Float32Array, sequence: number, position: number): void {
    const expected = alone[sequence]?.[position] ?? new Float32Array();
    expect(logits).toHaveLength(expected.length);
    const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const difference = logits.reduce(
      (most, value, i) => Math.max(most, Math.abs(value - (expected[i] ?? Number.NaN))),
      0,
    );
    expect(difference / largest, `sequence ${sequence}, position ${position}`).toBeLessThan(tolerance);
  }

  const schedule = fc.array(
    fc.array(
      fc.record({
        sequence: fc.nat({ max: sequences - 1 }),
        tokens: fc.oneof({ weight: 3, arbitrary: fc.constant(1) }, fc.integer({ min: 2, max: 30 })),
        leaves: fc.oneof({ weight: 12, arbitrary: fc.constant(false) }, fc.constant(true)),
      }),
      { minLength: 1, maxLength: sequences },
    ),
    { minLength: 1, maxLength: 40, size: 'max' },
  );

  it('gives each sequence its own logits, whoever joins and leaves', async () => {
    await fc.assert(
      fc.asyncProperty(schedule, async (steps) => {
        const states = new Map<number, Slot>();
        const fed = new Map<number, number>();
        const leave = (sequence: number) => {
          const state = states.get(sequence);
          if (state) runner.freeState(state);
          states.delete(sequence);
        };
        try {
          for (const step of steps) {
            const batch = new Map(step.map((part) => [part.sequence, part]));
            const running: { sequence: number; from: number; state: Slot; ids: number[]; rows: number[] }[] =
              [];
            for (const { sequence, tokens } of batch.values()) {
              if (!states.has(sequence) && states.size === slots) continue;
              if (!states.has(sequence)) {
                states.set(sequence, runner.newState());
                fed.set(sequence, 0);
              }
              const state = states.get(sequence);
              const from = fed.get(sequence) ?? 0;
              const ids = idsOf(sequence).slice(from, from + tokens);
              if (state && ids.length > 0)
                running.push({ sequence, from, state, ids, rows: [...ids.keys()] });
            }
            const results = await runner.runBatch(running);
            for (const [index, { sequence, from, ids }] of running.entries()) {
              const result = results[index];
              if (!(result instanceof Float32Array)) throw result ?? new Error('no result');
              const size = runner.model.vocabularySize;
              for (const row of ids.keys()) {
                expectAsAlone(result.subarray(row * size, (row + 1) * size), sequence, from + row);
              }
              fed.set(sequence, from + ids.length);
              if (batch.get(sequence)?.leaves || from + ids.length === length) leave(sequence);
            }
          }
        } finally {
          for (const sequence of [...states.keys()]) leave(sequence);
        }
      }),
      { numRuns: 8 },
    );
  });

  it('leaves greedy tokens as they are, in a loop where all come and go', async () => {
    const vocabulary = byteVocabulary;
    const request = (sequence: number): EngineRequest => ({
      id: `resp_${sequence}`,
      tenant: `tenant-${sequence % 2}`,
      prompt: idsOf(sequence).slice(0, 1 + ((sequence * 17) % 50)),
      replay: [],
      replayTextLength: 0,
      promptLogprobsFrom: 0,
      sampling: exampleJob({
        sampling: { temperature: 0, ignore_eos: true, max_tokens: 12 + 7 * sequence },
      }).sampling,
    });

    /** Adds `sequence` before step `arrivals[sequence]`, and gives all their tokens. */
    async function run(
      arrivals: ReadonlyMap<number, number>,
      aborts: ReadonlyMap<number, number> = new Map(),
    ) {
      const loop = new BatchLoop({ runner, vocabulary, prefillChunk: 7, stepTokens: 9, clock: () => 0 });
      const tokens = new Map<number, number[]>();
      const last = Math.max(...arrivals.values());
      for (let step = 0; step <= last || !loop.idle; step++) {
        for (const [sequence, at] of arrivals) if (at === step) loop.add(sequence, request(sequence));
        for (const [sequence, at] of aborts) if (at === step) loop.abort(sequence);
        for (const event of await loop.step()) {
          if (event.type === 'failed') throw event.error;
          if (event.type !== 'output' || event.output.kind !== 'tokens') continue;
          tokens.set(event.run, [...(tokens.get(event.run) ?? []), ...event.output.tokens]);
        }
      }
      return tokens;
    }

    const each = [...Array(sequences).keys()];
    const expected = new Map<number, number[]>();
    for (const sequence of each) {
      expected.set(sequence, (await run(new Map([[sequence, 0]]))).get(sequence) ?? []);
      expect(expected.get(sequence)).toHaveLength(12 + 7 * sequence);
    }
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat({ max: 40 }), { minLength: sequences, maxLength: sequences }),
        fc.option(fc.record({ sequence: fc.nat({ max: sequences - 1 }), after: fc.nat({ max: 60 }) })),
        async (arrivals, abort) => {
          const at = new Map(arrivals.entries());
          const aborts = new Map(
            abort ? [[abort.sequence, (at.get(abort.sequence) ?? 0) + abort.after]] : [],
          );
          const found = await run(at, aborts);
          for (const sequence of each) {
            const tokens = found.get(sequence) ?? [];
            const whole = expected.get(sequence) ?? [];
            expect(tokens).toEqual(sequence === abort?.sequence ? whole.slice(0, tokens.length) : whole);
          }
        },
      ),
      { numRuns: 5 },
    );
  });
});
