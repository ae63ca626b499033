import OpenAI from 'openai';
import { ResponsesWS } from 'openai/resources/responses/ws';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { type System, startSystem } from '../support/system.ts';

const model = 'hymba-tiny-stories';
const ask = 'Tell me a story about a boat.';

describe('unmodified clients', () => {
  let system: System;
  let openai: OpenAI;

  beforeAll(async () => {
    system = await startSystem();
    openai = new OpenAI({ baseURL: `${system.url}/v1`, apiKey: 'none-needed', maxRetries: 0 });
  });
  afterAll(() => system?.stop());

  /** What the model says greedily, as one JSON answer: every other way of asking must give the same. */
  const greedy = {
    model,
    temperature: 0,
    max_tokens: 40,
    messages: [{ role: 'user' as const, content: ask }],
  };
  let story: string;
  beforeAll(async () => {
    const completion = await openai.chat.completions.create(greedy);
    story = completion.choices[0]?.message.content ?? '';
    expect(story.split(' ').length).toBeGreaterThan(20);
    expect(completion.usage?.completion_tokens).toBe(40);
    expect(completion.choices[0]?.finish_reason).toBe('length');
  });

  it('streams chat completions', async () => {
    const stream = await openai.chat.completions.create({
      ...greedy,
      stream: true,
      stream_options: { include_usage: true },
    });
    let text = '';
    let chunks = 0;
    let usage: OpenAI.CompletionUsage | null | undefined;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? '';
      usage = chunk.usage ?? usage;
      chunks++;
    }
    expect(text).toBe(story);
    expect(chunks).toBeGreaterThan(10);
    expect(usage).toMatchObject({ completion_tokens: 40 });
  });

  it('streams responses, and resumes a finished one from the middle', async () => {
    const stream = await openai.responses.create({
      model,
      input: ask,
      temperature: 0,
      max_output_tokens: 40,
      stream: true,
    });
    const events: OpenAI.Responses.ResponseStreamEvent[] = [];
    for await (const event of stream) events.push(event);
    expect(events.map((event) => event.sequence_number)).toEqual(events.map((_, i) => i));
    const first = events[0];
    const last = events.at(-1);
    if (first?.type !== 'response.created' || last?.type !== 'response.incomplete') {
      throw new Error(`unexpected events ${first?.type} … ${last?.type}`);
    }
    expect(last.response.output_text ?? textOf(last.response)).toBe(story);

    const after = 8;
    const resumed: OpenAI.Responses.ResponseStreamEvent[] = [];
    const again = await openai.responses.retrieve(first.response.id, { stream: true, starting_after: after });
    for await (const event of again) resumed.push(event);
    expect(resumed).toEqual(events.slice(after + 1));

    const whole = await openai.responses.retrieve(first.response.id);
    expect(whole.output_text).toBe(story);
  });

  it('talks through ResponsesWS', async () => {
    const socket = new ResponsesWS(openai);
    let text = '';
    await new Promise<void>((resolve, reject) => {
      socket.on('error', reject);
      socket.on('event', (event) => {
        if (event.type === 'response.output_text.delta') text += event.delta;
        if (event.type === 'response.incomplete') resolve();
      });
      socket.send({ type: 'response.create', model, input: ask, temperature: 0, max_output_tokens: 40 });
    });
    socket.close();
    expect(text).toBe(story);
  });

  it('talks through a raw WebSocket', async () => {
    const socket = new WebSocket(`${system.url.replace('http', 'ws')}/v1/responses`);
    const numbers: number[] = [];
    let text = '';
    await new Promise<void>((resolve, reject) => {
      socket.on('error', reject);
      socket.on('open', () => {
        socket.send(
          JSON.stringify({
            type: 'response.create',
            model,
            input: ask,
            temperature: 0,
            max_output_tokens: 40,
          }),
        );
      });
      socket.on('message', (data) => {
        const event = JSON.parse(String(data));
        numbers.push(event.sequence_number);
        if (event.type === 'response.output_text.delta') text += event.delta;
        if (event.type === 'response.incomplete') resolve();
        if (event.type === 'error') reject(new Error(String(data)));
      });
    });
    socket.close();
    expect(text).toBe(story);
    expect(numbers).toEqual(numbers.map((_, i) => i));
  });

  it('completes text, and scores it', async () => {
    const completion = await openai.completions.create({
      model,
      prompt: 'Once upon a time',
      temperature: 0,
      max_tokens: 8,
      echo: true,
      logprobs: 2,
    });
    const choice = completion.choices[0];
    expect(choice?.text.startsWith('Once upon a time')).toBe(true);
    expect(choice?.logprobs?.tokens?.join('')).toBe(`<s>${choice?.text}`);
    expect(choice?.logprobs?.token_logprobs?.[0]).toBeNull();
    expect(choice?.logprobs?.token_logprobs?.slice(1).every((p) => p <= 0)).toBe(true);
  });
});

function textOf(response: OpenAI.Responses.Response): string {
  return response.output
    .flatMap((item) => (item.type === 'message' ? item.content : []))
    .map((part) => (part.type === 'output_text' ? part.text : ''))
    .join('');
}
