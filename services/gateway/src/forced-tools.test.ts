import { ScriptedEngine } from '@baton/engine/testing';
import { zodFunction } from 'openai/helpers/zod';
import type { ChatCompletionCreateParams } from 'openai/resources/chat/completions';
import type { ResponseCreateParams } from 'openai/resources/responses/responses';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { runOn } from './testing/scripts.ts';
import { type RunningGateway, TestBench } from './testing/test-bench.ts';
import { toolTemplate } from './testing/tool-template.ts';

const model = 'hymba-tiny-stories';
const place = z.strictObject({ place: z.enum(['Oslo', 'the </toolcall> sea']), day: z.int().min(1).max(31) });
const weather = zodFunction({ name: 'weather', description: 'The weather somewhere', parameters: place });
const now = { type: 'function' as const, function: { name: 'now' } };
const tools = [weather, now];
const responseTools = tools.map(({ function: { name, ...rest } }) => ({
  type: 'function' as const,
  name,
  strict: null,
  parameters: null,
  ...rest,
})) as NonNullable<ResponseCreateParams['tools']>;

type Choice = NonNullable<ChatCompletionCreateParams['tool_choice']>;
type ResponseChoice = NonNullable<ResponseCreateParams['tool_choice']>;

let bench: TestBench;
let gateway: RunningGateway;
let engine: ScriptedEngine;
/** What the model would say. */
let script = '';

beforeAll(async () => {
  bench = await TestBench.start({ chatTemplate: toolTemplate });
  gateway = await bench.startGateway();
  const { tokenizer } = bench.model;
  const vocabulary = {
    size: tokenizer.size,
    stripsLeadingSpace: tokenizer.stripsLeadingSpace,
    eosTokenIds: tokenizer.eosTokenIds,
    isSpecial: (id: number) => tokenizer.isSpecial(id),
    tokenBytes: (id: number) => tokenizer.tokenBytes(id),
    encode: (text: string) => tokenizer.encode(text, { addSpecialTokens: false }),
  };
  engine = new ScriptedEngine({ vocabulary, script: () => script });
  bench.script = runOn(engine);
});
afterAll(async () => {
  await bench?.stop();
  await engine?.close();
});

const messages = [{ role: 'user' as const, content: 'How is Oslo?' }];
const chat = { model, messages, tools, max_tokens: 400 };

/** The calls of a chat completion, each fitting its schema, and what is said beside them. */
async function chatted(body: object) {
  const runner = gateway.client.chat.completions.stream({ ...chat, ...body } as typeof chat);
  const { message, finish_reason } = (await runner.finalChatCompletion()).choices[0] ?? {};
  const calls = (message?.tool_calls ?? []).flatMap((call) => {
    if (call.type !== 'function') return [];
    const { name, arguments: args } = call.function;
    expect((name === 'weather' ? place : z.looseObject({})).safeParse(JSON.parse(args)).error).toBe(
      undefined,
    );
    return [name];
  });
  return { calls, said: message?.content || null, finish_reason };
}

describe('a forced call', () => {
  const samplings = [{ temperature: 0 }, { temperature: 1, seed: 4 }, { temperature: 1, seed: 9 }];
  it.each(samplings)('is made of the function that the request names (%j)', async (sampling) => {
    script = 'Once upon a time 7 "boats"';
    for (const name of ['weather', 'now']) {
      const tool_choice: Choice = { type: 'function', function: { name } };
      const { calls, said, finish_reason } = await chatted({ ...sampling, tool_choice });
      expect(calls).toEqual([name]);
      expect([said, finish_reason]).toEqual([null, 'tool_calls']);
    }
  });

  it('is made of any function, and once where calls are not to be parallel', async () => {
    const call = '<toolcall> {"name": "now", "arguments": {}} </toolcall>';
    script = `Hm. ${call}\n${call}`;
    const tool_choice = 'required';
    const one = await chatted({ temperature: 0, tool_choice, parallel_tool_calls: false });
    expect(one.calls).toHaveLength(1);
    expect(one.said).toBe(null);
    script = `${call}\n${call}`;
    const two = await chatted({ temperature: 0, tool_choice });
    expect(two.calls).toEqual(['now', 'now']);
  });

  it('is made in a response, streamed or not, which repeats the choice', async () => {
    script = 'Once upon a time';
    for (const tool_choice of [
      'required',
      { type: 'function', name: 'weather' },
      { type: 'allowed_tools', mode: 'required', tools: [{ type: 'function', name: 'weather' }] },
    ] satisfies ResponseChoice[]) {
      const body = {
        model,
        input: 'hi',
        tools: responseTools,
        tool_choice,
        parallel_tool_calls: false,
        temperature: 0,
        max_output_tokens: 400,
      };
      const response = await gateway.client.responses.create(body);
      const streamed = await gateway.client.responses.stream(body as never).finalResponse();
      for (const { output, tool_choice: repeated } of [response, streamed]) {
        expect(output).toHaveLength(1);
        expect(output[0]).toMatchObject({ type: 'function_call', status: 'completed' });
        if (output[0]?.type === 'function_call' && output[0].name === 'weather')
          place.parse(JSON.parse(output[0].arguments));
        expect(repeated).toEqual(tool_choice);
      }
    }
  });
});

describe('a model that may call or not', () => {
  const strict = { temperature: 0, tools: [weather] };

  it('calls a strict function with arguments that fit, and says what it likes beside', async () => {
    script = 'Let me see.\n<toolcall> {"name": "weather", "arguments": {"place": "Bergen"}} </toolcall>';
    const { calls, said, finish_reason } = await chatted(strict);
    expect([calls, finish_reason]).toEqual([['weather'], 'tool_calls']);
    expect(said).toMatch(/^Let me see\./);
    script = 'It is raining.';
    expect(await chatted(strict)).toEqual({ calls: [], said: script, finish_reason: 'stop' });
  });

  it('calls only what it is allowed to, and once where calls are not to be parallel', async () => {
    const call = (name: string) => `<toolcall> {"name": "${name}", "arguments": {}} </toolcall>`;
    script = `Hm. ${call('now')} Well. ${call('now')}`;
    const allowed = (name: string) => ({
      type: 'allowed_tools',
      allowed_tools: { mode: 'auto', tools: [{ type: 'function', function: { name } }] },
    });
    expect((await chatted({ temperature: 0, tool_choice: allowed('weather') })).calls).not.toContain('now');
    const once = await chatted({ temperature: 0, tool_choice: allowed('now'), parallel_tool_calls: false });
    expect(once.calls).toEqual(['now']);
  });

  it('says JSON of the format, or calls', async () => {
    const response_format = { type: 'json_object' as const };
    script = 'Once upon a time';
    const json = await gateway.client.chat.completions.create({ ...chat, temperature: 0, response_format });
    expect(json.choices[0]?.message.content).toMatch(/^\{/);
    script = '<toolcall> {"name": "now", "arguments": {}} </toolcall>';
    expect((await chatted({ temperature: 0, response_format })).calls).toEqual(['now']);
  });
});

describe('a request for calls', () => {
  const strictOf = (parameters: object) => ({
    type: 'function',
    function: { name: 'f', strict: true, parameters },
  });
  const object = { type: 'object', properties: { a: { type: 'integer', multipleOf: 2 } }, required: ['a'] };
  it.each<[string, object, string]>([
    ['without tools', { tools: [], tool_choice: 'required' }, 'tool_choice'],
    [
      'of a function that is not there',
      { tool_choice: { type: 'function', function: { name: 'rm' } } },
      'tool_choice',
    ],
    [
      'with a strict schema that cannot be kept to',
      { tools: [now, strictOf({ ...object, additionalProperties: false })] },
      'tools[1].function.parameters.properties.a.multipleOf',
    ],
    [
      'with a strict schema that is none',
      { tools: [now, strictOf(object)] },
      'tools[1].function.parameters.additionalProperties',
    ],
    ['that never ends', { tool_choice: 'required', ignore_eos: true }, 'ignore_eos'],
  ])('is refused %s', async (_, body, param) => {
    await expect(
      gateway.client.chat.completions.create({ ...chat, ...body } as typeof chat),
    ).rejects.toMatchObject({ status: 400, param });
  });

  it('takes any object for a schema that is not strict and cannot be kept to', async () => {
    script = '<toolcall> {"name": "now", "arguments": {"b": 1}} </toolcall>';
    const tool = { type: 'function', function: { name: 'now', parameters: object } };
    const once = { temperature: 0, tool_choice: 'required', parallel_tool_calls: false };
    const { calls } = await chatted({ ...once, tools: [tool] });
    expect(calls).toEqual(['now']);
  });
});
