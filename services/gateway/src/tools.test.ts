import type OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { answer, sayText } from './testing/scripts.ts';
import { type RunningGateway, TestBench } from './testing/test-bench.ts';
import { toolTemplate } from './testing/tool-template.ts';

const model = 'hymba-tiny-stories';
const parameters = { type: 'object', properties: { place: { type: 'string' } } };
const weather = { name: 'weather', description: 'The weather somewhere', parameters };
const args = '{"place":"Oslo"}';
const calling = `Let me look.\n<toolcall> {"name": "weather", "arguments": {"place": "Oslo"}} </toolcall>`;

describe('tools', () => {
  let bench: TestBench;
  let gateway: RunningGateway;
  let openai: OpenAI;
  beforeAll(async () => {
    bench = await TestBench.start({ chatTemplate: toolTemplate });
    gateway = await bench.startGateway();
    openai = gateway.client;
  });
  afterAll(() => bench?.stop());

  const chat = { model, tools: [{ type: 'function' as const, function: weather }] };
  const response = { model, tools: [{ type: 'function' as const, strict: null, ...weather }] };
  const user = { role: 'user' as const, content: 'How is Oslo?' };
  const promptOf = async (id: string) =>
    bench.model.tokenizer.decode((await bench.log.read(id))?.job?.prompt ?? [], { skipSpecialTokens: false });

  it('are called in a chat, and their results go on', async () => {
    bench.script = sayText(calling);
    const first = await openai.chat.completions.create({ ...chat, messages: [user] });
    const [choice] = first.choices;
    expect(choice).toMatchObject({
      finish_reason: 'tool_calls',
      message: {
        content: 'Let me look.',
        tool_calls: [
          {
            id: expect.stringMatching(/^call_/),
            type: 'function',
            function: { name: 'weather', arguments: args },
          },
        ],
      },
    });
    expect(await promptOf(first.id)).toContain(
      `<tool> {"type": "function", "function": {"name": "weather", `,
    );
    if (!choice) throw new Error('no choice');

    bench.script = answer;
    const id = choice.message.tool_calls?.[0]?.id ?? '';
    const second = await openai.chat.completions.create({
      ...chat,
      messages: [user, choice.message, { role: 'tool', tool_call_id: id, content: 'Rain.' }],
    });
    expect(second.choices[0]?.finish_reason).toBe('stop');
    expect(await promptOf(second.id)).toContain(
      'Let me look.\n<toolcall> {"name":"weather","arguments":{"place":"Oslo"}} </toolcall></s>\n<extra_id_1>Tool\nRain.\n',
    );
  });

  it('are called in a stream of chunks', async () => {
    bench.script = sayText(calling);
    const runner = openai.chat.completions.stream({ ...chat, messages: [user] });
    const said: string[] = [];
    runner.on('content', (delta) => said.push(delta));
    const { message, finish_reason } = (await runner.finalChatCompletion()).choices[0] ?? {};
    expect(said.join('')).toBe('Let me look.');
    expect(finish_reason).toBe('tool_calls');
    expect(message?.tool_calls).toMatchObject([{ function: { name: 'weather', arguments: args } }]);
  });

  it('are called in a response, streamed as read again, and their results go on', async () => {
    bench.script = sayText(calling);
    const runner = openai.responses.stream({ ...response, input: [user] });
    const types: string[] = [];
    runner.on('event', (event) => types.push(event.type));
    const first = await runner.finalResponse();
    expect(first.output).toMatchObject([
      { type: 'message', status: 'completed', content: [{ text: 'Let me look.' }] },
      { type: 'function_call', status: 'completed', name: 'weather', arguments: args },
    ]);
    expect(types.filter((type) => type.includes('function_call'))).toEqual([
      'response.function_call_arguments.delta',
      'response.function_call_arguments.done',
    ]);
    const again = await openai.responses.retrieve(first.id);
    expect(first.output).toMatchObject(again.output);

    bench.script = answer;
    const call = first.output[1];
    if (call?.type !== 'function_call') throw new Error('no call');
    const result = { type: 'function_call_output' as const, call_id: call.call_id, output: 'Rain.' };
    const went = await openai.responses.create({
      ...response,
      input: [result],
      previous_response_id: first.id,
    });
    const job = (await bench.log.read(went.id))?.job;
    expect(job?.parent?.id).toBe(first.id);
    const referred = await openai.responses.create({
      ...response,
      input: [user, ...first.output.map(({ id = '' }) => ({ type: 'item_reference' as const, id })), result],
    });
    const prompts = await Promise.all([went.id, referred.id].map(promptOf));
    for (const prompt of prompts)
      expect(prompt).toContain('<extra_id_1>Tool\nRain.\n<extra_id_1>Assistant\n');
    const items = await openai.responses.inputItems.list(referred.id, { order: 'asc' });
    expect(items.data.map(({ type }) => type)).toEqual([
      'message',
      'message',
      'function_call',
      'function_call_output',
    ]);
  });

  it('are left alone where the request says so', async () => {
    bench.script = sayText(calling);
    const { choices } = await openai.chat.completions.create({
      ...chat,
      messages: [user],
      tool_choice: 'none',
    });
    expect(choices[0]?.message).toMatchObject({ content: calling });
    expect(choices[0]?.message.tool_calls).toBeUndefined();
  });
});

describe('a model without tools', () => {
  let bench: TestBench;
  let openai: OpenAI;
  beforeAll(async () => {
    bench = await TestBench.start();
    openai = (await bench.startGateway()).client;
  });
  afterAll(() => bench?.stop());

  const call = { type: 'function_call' as const, call_id: 'call_1', name: 'f', arguments: '{}' };
  it.each<[string, () => Promise<unknown>, string]>([
    [
      'tools of a chat',
      () =>
        openai.chat.completions.create({
          model,
          messages: [{ role: 'user', content: 'x' }],
          tools: [{ type: 'function', function: weather }],
        }),
      'tools',
    ],
    [
      'a result in a chat',
      () =>
        openai.chat.completions.create({
          model,
          messages: [{ role: 'tool', tool_call_id: 'x', content: 'x' }],
        }),
      'messages[0].role',
    ],
    [
      'tools of a response',
      () =>
        openai.responses.create({
          model,
          input: 'x',
          tools: [{ type: 'function', strict: null, ...weather }],
        }),
      'tools',
    ],
    [
      'a call as input',
      () => openai.responses.create({ model, input: [{ role: 'user', content: 'x' }, call] }),
      'input[1]',
    ],
  ])('refuses %s', async (_, request, param) => {
    await expect(request()).rejects.toMatchObject({ status: 400, code: 'unsupported_parameter', param });
  });
});
