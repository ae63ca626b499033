import { createOpenAI as createOpenAI7 } from '@ai-sdk/openai';
import { AIMessage, HumanMessage } from '@langchain/core/messages';
import { ChatOpenAI, OpenAI as LangChainOpenAI } from '@langchain/openai';
import {
  Agent,
  type Model,
  OpenAIChatCompletionsModel,
  OpenAIResponsesModel,
  Runner,
  setTracingDisabled,
} from '@openai/agents';
import * as ai7 from 'ai';
import * as ai6 from 'ai-6';
import { createOpenAI as createOpenAI6 } from 'ai-sdk-openai-3';
import OpenAI from 'openai';
import { ResponsesWS } from 'openai/resources/responses/ws';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type System, startSystem } from '../support/system.ts';

const model = 'hymba-tiny-stories';
const ask = 'Tell me a story about a boat.';
const askAgain = 'What happened next?';
const maxTokens = 24;
const apiKey = 'none-needed';

let system: System;
let baseURL: string;
let openai: OpenAI;
/** What the model says greedily to one question, and to another one after it: whoever asks must hear the same. */
let story: string;
let sequel: string;

beforeAll(async () => {
  system = await startSystem({ env: { BATON_DISCONNECT_GRACE: '1' } });
  baseURL = `${system.url}/v1`;
  openai = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
  const greedy = { model, temperature: 0, max_tokens: maxTokens };
  const first = { role: 'user' as const, content: ask };
  const answer = await openai.chat.completions.create({ ...greedy, messages: [first] });
  story = answer.choices[0]?.message.content ?? '';
  const messages = [
    first,
    { role: 'assistant' as const, content: story },
    { role: 'user' as const, content: askAgain },
  ];
  sequel = (await openai.chat.completions.create({ ...greedy, messages })).choices[0]?.message.content ?? '';
  expect(Math.min(story.length, sequel.length)).toBeGreaterThan(40);
  expect(sequel).not.toBe(story);
});
afterAll(() => system?.stop());

/** Resolves once no generation runs or waits any more: what was left has been stopped. */
async function nothingRuns(): Promise<void> {
  const running = async () => {
    const workers = (await (await fetch(`${system.url}/admin/workers`)).json()) as {
      data: { generations: unknown[] }[];
    };
    return workers.data.flatMap(({ generations }) => generations).length;
  };
  await expect.poll(running, { timeout: 15_000 }).toBe(0);
}

describe('openai', () => {
  const body = { model, temperature: 0, max_output_tokens: maxTokens };

  it('goes on by previous_response_id and by conversation', async () => {
    const first = await openai.responses.create({ ...body, input: ask });
    const next = await openai.responses.create({ ...body, input: askAgain, previous_response_id: first.id });
    const { id } = await openai.conversations.create();
    const told = await openai.responses.create({ ...body, input: ask, conversation: id });
    const after = await openai.responses.create({ ...body, input: askAgain, conversation: id });
    expect([first, next, told, after].map(({ output_text }) => output_text)).toEqual([
      story,
      sequel,
      story,
      sequel,
    ]);
    expect(after.usage?.input_tokens_details.cached_tokens).toBeGreaterThan(0);
  });

  it('helps to stream, and aborts', async () => {
    const runner = openai.responses.stream({ ...body, input: ask });
    expect((await runner.finalResponse()).output_text).toBe(story);
    const chat = openai.chat.completions.stream({
      model,
      messages: [{ role: 'user', content: ask }],
      temperature: 0,
      max_completion_tokens: maxTokens,
    });
    expect(await chat.finalContent()).toBe(story);
    const endless = await openai.completions.create({
      model,
      prompt: 'Once',
      max_tokens: 1500,
      ignore_eos: true,
      stream: true,
    } as OpenAI.CompletionCreateParamsStreaming);
    for await (const _ of endless) break;
    await nothingRuns();
  });

  it('runs two lanes of one socket side by side', async () => {
    const socket = new ResponsesWS(openai);
    const texts: Record<string, string> = {};
    let open = 2;
    await new Promise<void>((resolve, reject) => {
      socket.on('error', reject);
      socket.on('event', (event) => {
        const lane = 'stream_id' in event ? String(event.stream_id) : '';
        if (event.type === 'response.output_text.delta') texts[lane] = (texts[lane] ?? '') + event.delta;
        if (event.type === 'response.incomplete' && --open === 0) resolve();
      });
      for (const stream_id of ['a', 'b']) {
        socket.send({ type: 'response.create', stream_id, ...body, input: ask } as Parameters<
          typeof socket.send
        >[0]);
      }
    });
    socket.close();
    expect(texts).toEqual({ a: story, b: story });
  });
});

describe.each([
  ['6', ai6 as unknown as typeof ai7, createOpenAI6 as unknown as typeof createOpenAI7],
  ['7', ai7, createOpenAI7],
])('AI SDK %s', (_, { generateText, streamText }, createOpenAI) => {
  const settings = { temperature: 0, maxOutputTokens: maxTokens, maxRetries: 0 };
  const provider = () => createOpenAI({ baseURL, apiKey });
  const models = () => [provider().responses(model), provider().chat(model)];

  it('generates and streams, with responses and chats', async () => {
    for (const served of models()) {
      const answer = await generateText({ ...settings, model: served, prompt: ask });
      expect(answer.text).toBe(story);
      expect(answer.finishReason).toBe('length');
      expect(answer.usage.outputTokens).toBe(maxTokens);
      let text = '';
      const stream = streamText({ ...settings, model: served, prompt: ask });
      for await (const delta of stream.textStream) text += delta;
      expect(text).toBe(story);
      expect(await stream.finishReason).toBe('length');
    }
  });

  it('takes several turns, and refers to what was said before', async () => {
    for (const served of models()) {
      const first = await generateText({ ...settings, model: served, prompt: ask });
      const messages = [
        { role: 'user' as const, content: ask },
        ...first.response.messages,
        { role: 'user' as const, content: askAgain },
      ];
      const next = await generateText({ ...settings, model: served, messages });
      expect(next.text).toBe(sequel);
    }
  });

  it('completes text', async () => {
    const { text } = await generateText({
      ...settings,
      model: provider().completion(model),
      prompt: 'Once upon a time',
    });
    expect(text.length).toBeGreaterThan(20);
  });

  it('aborts', async () => {
    const abort = new AbortController();
    const stream = streamText({
      model: provider().chat(model),
      prompt: ask,
      maxOutputTokens: 1500,
      maxRetries: 0,
      abortSignal: abort.signal,
    });
    for await (const _ of stream.textStream) abort.abort();
    await nothingRuns();
  });
});

describe('LangChain', () => {
  const fields = () => ({
    model,
    temperature: 0,
    maxTokens,
    apiKey,
    configuration: { baseURL },
    maxRetries: 0,
  });

  it.each([false, true])(
    'invokes, streams and takes several turns (responses: %s)',
    async (useResponsesApi) => {
      const chat = new ChatOpenAI({ ...fields(), useResponsesApi });
      const answer = await chat.invoke(ask);
      expect(answer.text).toBe(story);
      expect(answer).toMatchObject({ usage_metadata: { output_tokens: maxTokens } });
      let text = '';
      for await (const chunk of await chat.stream(ask)) text += chunk.text;
      expect(text).toBe(story);
      const next = await chat.invoke([
        new HumanMessage(ask),
        new AIMessage(story),
        new HumanMessage(askAgain),
      ]);
      expect(next.text).toBe(sequel);
    },
  );

  it('completes text', async () => {
    const { maxTokens: _, ...rest } = fields();
    const completion = new LangChainOpenAI({ ...rest, maxTokens });
    expect((await completion.invoke('Once upon a time')).length).toBeGreaterThan(20);
  });

  it('aborts', async () => {
    const abort = new AbortController();
    const chat = new ChatOpenAI({ ...fields(), maxTokens: 1500 });
    const reading = (async () => {
      for await (const _ of await chat.stream(ask, { signal: abort.signal })) abort.abort();
    })();
    await expect(reading).rejects.toThrow();
    await nothingRuns();
  });
});

describe('Agents SDK', () => {
  beforeAll(() => setTracingDisabled(true));
  // It takes an answer that its limit cut off for a failure: this one ends with the first sentence.
  const modelSettings = { temperature: 0, providerData: { stop: ['.'] } };
  const agentOf = (served: Model) =>
    new Agent({ name: 'Storyteller', instructions: 'Tell stories.', model: served, modelSettings });
  const models = () => [
    new OpenAIResponsesModel(openai, model),
    new OpenAIChatCompletionsModel(openai, model),
  ];

  it('runs, streams, and takes several turns', async () => {
    for (const served of models()) {
      const agent = agentOf(served);
      const runner = new Runner();
      const first = await runner.run(agent, ask);
      expect(String(first.finalOutput).length).toBeGreaterThan(10);
      const stream = await runner.run(agent, ask, { stream: true });
      let text = '';
      for await (const delta of stream.toTextStream()) text += delta;
      await stream.completed;
      expect(text).toBe(first.finalOutput);
      const next = await runner.run(agent, [...first.history, { role: 'user', content: askAgain }]);
      expect(String(next.finalOutput).length).toBeGreaterThan(10);
    }
  });

  it('goes on by previous_response_id and by conversation', async () => {
    const agent = agentOf(new OpenAIResponsesModel(openai, model));
    const runner = new Runner();
    const first = await runner.run(agent, ask);
    const previousResponseId = first.lastResponseId ?? '';
    const next = await runner.run(agent, askAgain, { previousResponseId });
    const { id } = await openai.conversations.create();
    const told = await runner.run(agent, ask, { conversationId: id });
    const after = await runner.run(agent, askAgain, { conversationId: id });
    expect([told.finalOutput, after.finalOutput]).toEqual([first.finalOutput, next.finalOutput]);
  });

  it('aborts', async () => {
    const abort = new AbortController();
    const agent = agentOf(new OpenAIChatCompletionsModel(openai, model));
    const stream = await new Runner().run(agent, ask, { stream: true, signal: abort.signal });
    for await (const _ of stream.toTextStream()) abort.abort();
    await nothingRuns();
  });
});
