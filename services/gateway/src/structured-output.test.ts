import { ScriptedEngine } from '@baton/engine/testing';
import { zodResponseFormat, zodTextFormat } from 'openai/helpers/zod';
import type { CompletionCreateParamsNonStreaming } from 'openai/resources/completions';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { runOn } from './testing/scripts.ts';
import { type RunningGateway, TestBench } from './testing/test-bench.ts';

let bench: TestBench;
let gateway: RunningGateway;
let engine: ScriptedEngine;

beforeAll(async () => {
  bench = await TestBench.start();
  gateway = await bench.startGateway();
  // A model that would rather tell a story.
  engine = new ScriptedEngine({
    vocabulary: bench.model.tokenizer,
    script: () => 'Once upon a time 7 "boats"',
  });
  bench.script = runOn(engine);
});
afterAll(async () => {
  await bench?.stop();
  await engine?.close();
});

const model = 'hymba-tiny-stories';
const animal = z.object({
  kind: z.enum(['bear', 'boat "é"']),
  age: z.int().min(0).max(130),
  weight: z.number().gt(0).lte(2.5),
  tame: z.boolean(),
  name: z.string().max(6).nullable(),
  born: z.iso.date(),
  legs: z.array(z.int().min(1).max(4)).min(1).max(3),
  place: z.discriminatedUnion('at', [
    z.object({ at: z.literal('sea'), depth: z.int().min(0).max(9) }),
    z.object({ at: z.literal('home'), pair: z.array(z.boolean()).length(2) }),
  ]),
});
const chat = { model, messages: [{ role: 'user' as const, content: 'hi' }], max_tokens: 400 };
const chatFormat = zodResponseFormat(animal, 'animal');
const samplings = [
  { temperature: 0 },
  { temperature: 1, seed: 3, min_tokens: 399, logprobs: true, top_logprobs: 2 },
];

describe('structured output', () => {
  it.each(samplings)("fits the openai client's schema, in every choice (%j)", async (sampling) => {
    const completion = await gateway.client.chat.completions.parse({
      ...chat,
      ...sampling,
      n: 3,
      presence_penalty: 1,
      logit_bias: { 90: 50 },
      response_format: chatFormat,
    });
    for (const { message, finish_reason } of completion.choices) {
      expect(finish_reason).toBe('stop');
      expect(animal.parse(message.parsed)).toEqual(JSON.parse(message.content ?? ''));
    }
  });

  it('fits it in a response too, streamed or not, and the response repeats the format', async () => {
    const format = zodTextFormat(animal, 'animal');
    const body = { model, input: 'hi', text: { format } };
    const response = await gateway.client.responses.parse(body);
    expect(animal.parse(response.output_parsed)).toEqual(JSON.parse(response.output_text));
    expect(response.text?.format).toMatchObject({ type: 'json_schema', name: 'animal', strict: true });
    const streamed = await gateway.client.responses.stream(body).finalResponse();
    expect(animal.safeParse(streamed.output_parsed).success).toBe(true);
  });

  it('is an object in JSON mode, here and in text completions', async () => {
    const response_format = { type: 'json_object' as const };
    const completion = await gateway.client.chat.completions.create({ ...chat, response_format });
    expect(completion.choices[0]?.message.content).toMatch(/^\{/);
    const { choices } = await gateway.client.completions.create({
      model,
      prompt: 'hi',
      max_tokens: 8,
      response_format,
    } as CompletionCreateParamsNonStreaming);
    expect(choices[0]?.text).toMatch(/^\{/);
    const response = await gateway.client.responses.create({
      model,
      input: 'hi',
      text: { format: response_format },
    });
    expect(response.text).toMatchObject({ format: { type: 'json_object' } });
  });

  it('is cut at max_tokens, and ends at a stop string', async () => {
    const create = (rest: object) =>
      gateway.client.chat.completions.create({
        ...chat,
        ...rest,
        response_format: chatFormat,
        temperature: 0,
      });
    const cut = await create({ max_tokens: 3 });
    expect(cut.choices[0]).toMatchObject({
      finish_reason: 'length',
      message: { content: expect.stringMatching(/^\{"/) },
    });
    const stopped = await create({ stop: ['"age"'] });
    expect(stopped.choices[0]).toMatchObject({
      finish_reason: 'stop',
      message: { content: expect.stringMatching(/",? ?$/) },
    });
  });

  it.each<[string, object, string]>([
    [
      'an unknown keyword',
      { type: 'object', properties: { a: { type: 'array', uniqueItems: true } } },
      '.properties.a.uniqueItems',
    ],
    [
      'a pattern that looks ahead',
      { type: 'object', properties: { a: { type: 'string', pattern: '(?=x)' } } },
      '.properties.a.pattern',
    ],
    ['a reference to nothing', { $ref: '#/$defs/a' }, '.$ref'],
    ['what no value fits', { type: 'object', properties: { a: { $ref: '#' } }, required: ['a'] }, ''],
  ])('is refused for %s, before it is queued', async (_, schema, where) => {
    const json_schema = { name: 'x', schema: schema as Record<string, unknown> };
    await expect(
      gateway.client.chat.completions.create({
        ...chat,
        response_format: { type: 'json_schema', json_schema },
      }),
    ).rejects.toMatchObject({ status: 400, param: `response_format.json_schema.schema${where}` });
    await expect(
      gateway.client.responses.create({
        model,
        input: 'hi',
        text: { format: { type: 'json_schema', ...json_schema } },
      }),
    ).rejects.toMatchObject({ status: 400, param: `text.format.schema${where}` });
  });

  it('keeps a strict schema to what OpenAI takes as one', async () => {
    const create = (schema: Record<string, unknown>, strict: boolean) =>
      gateway.client.chat.completions.create({
        ...chat,
        response_format: { type: 'json_schema', json_schema: { name: 'x', schema, strict } },
      });
    const open = { type: 'object', properties: { a: { type: 'boolean' } } };
    await expect(create(open, true)).rejects.toMatchObject({
      status: 400,
      param: 'response_format.json_schema.schema.additionalProperties',
    });
    await expect(create({ ...open, additionalProperties: false }, true)).rejects.toMatchObject({
      param: 'response_format.json_schema.schema.required',
    });
    await expect(create({ type: 'boolean' }, true)).rejects.toMatchObject({
      param: 'response_format.json_schema.schema.type',
    });
    expect((await create(open, false)).choices[0]?.finish_reason).toBe('stop');
  });

  it('does not go with ignore_eos', async () => {
    const response_format = { type: 'json_object' as const };
    await expect(
      gateway.client.chat.completions.create({ ...chat, response_format, ignore_eos: true } as typeof chat),
    ).rejects.toMatchObject({ status: 400, param: 'ignore_eos' });
  });
});
