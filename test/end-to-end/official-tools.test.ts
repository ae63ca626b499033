import { createOpenAI as createOpenAI7 } from '@ai-sdk/openai';
import { HumanMessage, type ToolMessage } from '@langchain/core/messages';
import { tool as langChainTool } from '@langchain/core/tools';
import { ChatOpenAI } from '@langchain/openai';
import {
  Agent,
  tool as agentTool,
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
import { zodFunction, zodResponsesFunction } from 'openai/helpers/zod';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { toolTemplate } from '../../services/gateway/src/testing/tool-template.ts';
import { type System, startSystem } from '../support/system.ts';

const model = 'hymba-tiny-stories';
const ask = 'Tell me a story about a boat.';
const apiKey = 'none-needed';
const maxTokens = 120;
const description = 'Looks up the weather';
const parameters = z.object({ place: z.enum(['Oslo', 'Bergen']), days: z.int().min(1).max(9) });

let system: System;
let baseURL: string;
let openai: OpenAI;
/** The arguments of each call that a client let run. */
let ran: unknown[] = [];
const weather = async (args: z.output<typeof parameters>) => {
  ran.push(parameters.parse(args));
  return `Rain in ${args.place}`;
};
/** That one call was run since this was asked last. */
function expectOneCall(): void {
  expect(ran).toHaveLength(1);
  ran = [];
}

beforeAll(async () => {
  system = await startSystem({ chatTemplate: toolTemplate });
  baseURL = `${system.url}/v1`;
  openai = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
});
afterAll(() => system?.stop());
beforeEach(() => {
  ran = [];
});

describe('openai', () => {
  const greedy = { model, temperature: 0 };
  const messages = [{ role: 'user' as const, content: ask }];

  it('runs the functions that a chat calls', async () => {
    const runner = openai.chat.completions.runTools({
      ...greedy,
      messages,
      max_tokens: maxTokens,
      tools: [zodFunction({ name: 'weather', description, parameters, function: weather })],
      tool_choice: { type: 'function', function: { name: 'weather' } },
    });
    expect(await runner.finalFunctionToolCallResult()).toMatch(/^Rain in/);
    expectOneCall();
  });

  it('parses the calls of a chat, streamed or not, and goes on with their results', async () => {
    const tools = [zodFunction({ name: 'weather', description, parameters })];
    const body = { ...greedy, messages, max_tokens: maxTokens, tools, tool_choice: 'required' as const };
    const once = { ...body, parallel_tool_calls: false };
    const parsed = await openai.chat.completions.parse(once);
    const streamed = await openai.chat.completions.stream(once).finalChatCompletion();
    for (const { choices } of [parsed, streamed]) {
      expect(choices[0]?.finish_reason).toBe('tool_calls');
      const [call] = choices[0]?.message.tool_calls ?? [];
      if (!choices[0] || call?.type !== 'function') throw new Error('no call');
      const content = await weather(parameters.parse(call.function.parsed_arguments));
      const result = { role: 'tool' as const, tool_call_id: call.id, content };
      const next = await openai.chat.completions.create({
        ...body,
        messages: [...messages, choices[0].message, result],
        tool_choice: 'auto',
      });
      expect(next.choices[0]?.message.content).not.toBe('');
      expectOneCall();
    }
  });

  it('parses the calls of a response, streamed or not, and goes on with their results', async () => {
    const tools = [zodResponsesFunction({ name: 'weather', description, parameters })];
    const body = { ...greedy, input: ask, max_output_tokens: maxTokens, tools };
    const once = { ...body, tool_choice: 'required' as const, parallel_tool_calls: false };
    const parsed = await openai.responses.parse(once);
    const streamed = await openai.responses.stream(once).finalResponse();
    for (const { id, output } of [parsed, streamed]) {
      const [call] = output;
      if (call?.type !== 'function_call') throw new Error('no call');
      const result = await weather(parameters.parse(call.parsed_arguments));
      const results = [{ type: 'function_call_output' as const, call_id: call.call_id, output: result }];
      const next = await openai.responses.create({ ...body, input: results, previous_response_id: id });
      const input = [{ role: 'user' as const, content: ask }, ...output, ...results];
      // What the client parsed is sent back as it came.
      const told = await openai.responses.create({ ...body, input: input as OpenAI.Responses.ResponseInput });
      expect(next.output_text).not.toBe('');
      expect(told.output_text).not.toBe('');
      expectOneCall();
    }
  });
});

describe.each([
  ['6', ai6 as unknown as typeof ai7, createOpenAI6 as unknown as typeof createOpenAI7],
  ['7', ai7, createOpenAI7],
])('AI SDK %s', (_, { generateText, streamText, tool }, createOpenAI) => {
  const models = () => {
    const provider = createOpenAI({ baseURL, apiKey });
    return [provider.responses(model), provider.chat(model)];
  };

  it('runs what is called and goes on with the results, streamed or not', async () => {
    for (const served of models()) {
      const settings: Parameters<typeof generateText>[0] = {
        model: served,
        prompt: ask,
        temperature: 0,
        maxOutputTokens: maxTokens,
        maxRetries: 0,
        tools: { weather: tool({ description, inputSchema: parameters, execute: weather }) },
        toolChoice: { type: 'tool', toolName: 'weather' },
        stopWhen: ({ steps }) => steps.length === 2,
        prepareStep: ({ stepNumber }) => (stepNumber === 0 ? {} : { toolChoice: 'none' }),
      };
      const generated = await generateText(settings);
      expect(generated.steps.map(({ toolResults }) => toolResults.length)).toEqual([1, 0]);
      expect(generated.steps[0]?.finishReason).toBe('tool-calls');
      expect(generated.text.length).toBeGreaterThan(0);
      expectOneCall();
      const stream = streamText(settings as Parameters<typeof streamText>[0]);
      let said = '';
      for await (const delta of stream.textStream) said += delta;
      expect((await stream.steps).map(({ toolResults }) => toolResults.length)).toEqual([1, 0]);
      expect(said).toBe(generated.text);
      expectOneCall();
    }
  });
});

describe('LangChain', () => {
  it.each([false, true])(
    'binds tools, and goes on with their results (responses: %s)',
    async (useResponsesApi) => {
      const chat = new ChatOpenAI({
        model,
        temperature: 0,
        maxTokens,
        apiKey,
        configuration: { baseURL },
        maxRetries: 0,
        useResponsesApi,
      });
      const look = langChainTool(weather, { name: 'weather', description, schema: parameters });
      const bound = chat.bindTools([look], { tool_choice: 'weather', strict: true });
      const called = await bound.invoke(ask);
      expect(called.tool_calls).toMatchObject([{ name: 'weather', id: expect.stringMatching(/^call_/) }]);
      const [call] = called.tool_calls ?? [];
      if (!call) throw new Error('no call');
      const result: ToolMessage = await look.invoke({ ...call, type: 'tool_call' });
      const next = await chat
        .bindTools([look], { strict: true })
        .invoke([new HumanMessage(ask), called, result]);
      expect(next.text.length).toBeGreaterThan(0);
      expectOneCall();

      let streamed: Awaited<ReturnType<typeof bound.invoke>> | undefined;
      for await (const chunk of await bound.stream(ask)) streamed = streamed ? streamed.concat(chunk) : chunk;
      expect(streamed?.tool_calls?.map(({ args }) => args)).toEqual([call.args]);

      const structured = chat.withStructuredOutput(parameters, {
        name: 'weather',
        method: 'functionCalling',
      });
      expect(parameters.safeParse(await structured.invoke(ask)).error).toBe(undefined);
    },
  );
});

describe('Agents SDK', () => {
  beforeAll(() => setTracingDisabled(true));
  const tools = [agentTool({ name: 'weather', description, parameters, execute: weather })];
  const modelSettings = {
    temperature: 0,
    toolChoice: 'required' as const,
    parallelToolCalls: false,
    // It takes an answer that its limit cut off for a failure: this one ends with the first sentence.
    providerData: { stop: ['.'] },
  };
  const agentOf = (served: Model) =>
    new Agent({ name: 'Storyteller', instructions: 'Tell stories.', model: served, modelSettings, tools });

  it('runs what is called and goes on with the results, streamed or not', async () => {
    for (const served of [
      new OpenAIResponsesModel(openai, model),
      new OpenAIChatCompletionsModel(openai, model),
    ]) {
      const whole = await new Runner().run(agentOf(served), ask);
      expect(String(whole.finalOutput).length).toBeGreaterThan(0);
      expectOneCall();
      const stream = await new Runner().run(agentOf(served), ask, { stream: true });
      let text = '';
      for await (const delta of stream.toTextStream()) text += delta;
      await stream.completed;
      expect(text).toBe(whole.finalOutput);
      expectOneCall();
    }
  });
});
