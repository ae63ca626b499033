import { MessageError } from '@baton/errors';
import { describe, expect, it } from 'vitest';
import type { z } from 'zod';
import { exampleId, exampleJob } from './example-job.ts';
import { commandReplySchema, workerCommandSchema, workerStatusSchema } from './fleet.ts';
import { carriesTagOf, choiceGenerationId, generationId, newId, tagOfId, tenantTag } from './ids.ts';
import { generationJobSchema } from './job.ts';
import { logEntrySchema } from './log-entry.ts';
import { followersSubject, liveSubject, logOpenSubject, logSubject, shardOf } from './names.ts';
import { parseMessage } from './parse.ts';

describe('parseMessage', () => {
  it('reads text, bytes and objects alike', () => {
    const job = exampleJob();
    const text = JSON.stringify(job);
    for (const data of [text, new TextEncoder().encode(text), job]) {
      expect(parseMessage(generationJobSchema, data, 'queue')).toEqual(job);
    }
  });

  it.each<[string, unknown, string]>([
    ['text that is not JSON', '{"v":1', 'is not JSON'],
    ['another version', { ...exampleJob(), v: 2 }, 'at v'],
    ['a field nobody knows', { ...exampleJob(), colour: 'red' }, 'colour'],
    ['an empty prompt', { ...exampleJob(), prompt: [] }, 'at prompt'],
    ['an id that is no subject token', { ...exampleJob(), id: 'resp_>' }, 'at id'],
    [
      "an id with another tenant's tag",
      exampleJob({ id: exampleId('acme'), tenant: 'rival' }),
      `${exampleId('acme')} does not carry the tag ${tenantTag('rival')} of tenant rival\n  → at id`,
    ],
    [
      "another tenant's turn before it",
      exampleJob({ tenant: 'rival', parent: { id: exampleId('acme'), tokens: 3 } }),
      'of tenant rival\n  → at parent',
    ],
    ['a temperature out of range', exampleJob({ sampling: { temperature: 3 } }), 'at sampling.temperature'],
  ])('refuses %s, naming place and field', (_, data, named) => {
    const parse = () => parseMessage(generationJobSchema, data, 'queue generations');
    expect(parse).toThrow(MessageError);
    expect(parse).toThrow('queue generations');
    expect(parse).toThrow(named);
  });

  const tokens = { v: 1, kind: 'tokens', epoch: 1, sequence_number: 1, tokens: [5], text: ' a' };
  const finish = { v: 1, kind: 'finish', epoch: 1, sequence_number: 2, reason: 'stop' };
  const usage = { prompt_tokens: 3, cached_tokens: 0, completion_tokens: 1 };
  const logprob = { token: 5, logprob: -1, top: [] };
  const running = { id: exampleId('acme'), tokens: 5, stored: 0 };
  const status = {
    ...{ v: 1, worker: 'w', pid: 1, host: 'h', state: 'running', device: 'cpu' },
    ...{ model: 'm', fingerprint: 'f', slots: 1 },
  };
  const colour = 'red';
  it.each<[string, z.ZodType, object, object]>([
    ['a log entry', logEntrySchema, { ...tokens, colour }, tokens],
    [
      'the log-probability of a token',
      logEntrySchema,
      { ...tokens, logprobs: [{ ...logprob, colour }] },
      { ...tokens, logprobs: [logprob] },
    ],
    [
      "a generation's usage",
      logEntrySchema,
      { ...finish, usage: { ...usage, colour } },
      { ...finish, usage },
    ],
    [
      "a worker's heartbeat",
      workerStatusSchema,
      { ...status, colour, generations: [{ ...running, colour }] },
      { ...status, generations: [running] },
    ],
    ['a command', workerCommandSchema, { v: 1, kind: 'drain', colour }, { v: 1, kind: 'drain' }],
    [
      'its answer',
      commandReplySchema,
      { v: 1, done: true, reason: '', colour },
      { v: 1, done: true, reason: '' },
    ],
  ])('leaves out what a later release has added to %s', (_, schema, later, known) => {
    expect(parseMessage(schema, JSON.stringify(later), 'here')).toEqual(known);
  });

  it('refuses a field that nobody knows of a job in the log, too', () => {
    const queued = { v: 1, kind: 'queued', epoch: 0, sequence_number: 0, job: { ...exampleJob(), colour } };
    expect(() => parseMessage(logEntrySchema, queued, 'baton.log.0.x')).toThrow('colour');
  });

  it('refuses a log entry of an unknown kind', () => {
    expect(() => parseMessage(logEntrySchema, { v: 1, kind: 'token' }, 'baton.log.0.x')).toThrow(
      MessageError,
    );
  });
});

describe('ids', () => {
  it('are fresh, and valid for a generation and each of its choices', () => {
    const id = newId('cmpl', 'default');
    expect(id).not.toBe(newId('cmpl', 'default'));
    expect(choiceGenerationId(id, 0)).toBe(id);
    expect(generationId.parse(choiceGenerationId(id, 12))).toBe(`${id}-12`);
  });

  it("carry their tenant's tag, also those of choices", () => {
    expect(tenantTag('acme')).toBe('822b33ad');
    for (const prefix of ['resp', 'chatcmpl', 'conv'] as const) {
      const id = newId(prefix, 'acme');
      expect(id).toMatch(/^[a-z]+_822b33ad[0-9a-f]{24}$/);
      expect([tagOfId(choiceGenerationId(id, 3)), carriesTagOf('acme', id)]).toEqual(['822b33ad', true]);
      expect(carriesTagOf('rival', id)).toBe(false);
    }
  });

  it("give every subject of a generation its tenant's tag", () => {
    const id = exampleId('acme');
    expect([logSubject(2, id), liveSubject(2, id), logOpenSubject(id), followersSubject(id)]).toEqual(
      ['log.2', 'live.2', 'open', 'followers'].map((kind) => `baton.${kind}.822b33ad.${id}`),
    );
  });

  it('spread over every shard, the same way each time', () => {
    const ids = Array.from({ length: 400 }, () => newId('resp', 'default'));
    expect(new Set(ids.map((id) => shardOf(id, 4)))).toEqual(new Set([0, 1, 2, 3]));
    expect(ids.map((id) => shardOf(id, 4))).toEqual(ids.map((id) => shardOf(id, 4)));
    expect(shardOf('resp_a', 1)).toBe(0);
  });
});
