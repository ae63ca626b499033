import { APIError } from 'openai';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { answer, answerText, failAfterOneWord, waitForCancel } from './testing/scripts.ts';
import { type RunningGateway, TestBench } from './testing/test-bench.ts';

let bench: TestBench;
let gateway: RunningGateway;

beforeAll(async () => {
  bench = await TestBench.start();
  gateway = await bench.startGateway();
});
afterAll(() => bench.stop());
beforeEach(() => {
  bench.script = answer;
});

const model = 'hymba-tiny-stories';
const chat = { model, messages: [{ role: 'user' as const, content: 'hi' }] };
const response = { model, input: 'hi' };

async function collect<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of stream) items.push(item);
  return items;
}

/** Resolves once the generation's log says that it was cancelled. */
async function cancelled(id: string): Promise<void> {
  const feed = await bench.log.subscribe(id);
  for await (const _ of feed.entries()) {
    // The state below is the fold of them all.
  }
  expect(feed.state.terminal).toMatchObject({ kind: 'finish', reason: 'cancelled' });
}

describe('chat completions', () => {
  it('answer at once', async () => {
    const completion = await gateway.client.chat.completions.create({ ...chat, n: 2, logprobs: true });
    expect(completion).toMatchObject({
      id: expect.stringMatching(/^chatcmpl_/),
      object: 'chat.completion',
      model,
      usage: { completion_tokens: 24, prompt_tokens_details: { cached_tokens: 0 } },
    });
    expect(completion.choices.map(({ index }) => index)).toEqual([0, 1]);
    for (const { message, finish_reason, logprobs } of completion.choices) {
      expect([message.content, finish_reason]).toEqual([answerText, 'stop']);
      expect(logprobs?.content).toHaveLength(12);
    }
  });

  it('stream every choice to its end, then the usage', async () => {
    const chunks = await collect(
      await gateway.client.chat.completions.create({
        ...chat,
        n: 2,
        max_completion_tokens: 3,
        stream: true,
        stream_options: { include_usage: true },
      }),
    );
    for (const index of [0, 1]) {
      const choices = chunks.flatMap((chunk) => chunk.choices.filter((choice) => choice.index === index));
      expect(choices[0]?.delta.role).toBe('assistant');
      expect(choices.map(({ delta }) => delta.content ?? '').join('')).toBe('Hello');
      expect(choices.at(-1)?.finish_reason).toBe('length');
    }
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { completion_tokens: 6 } });
    expect(chunks.slice(0, -1).every(({ usage }) => usage === null)).toBe(true);
  });

  it('work with the streaming helper', async () => {
    const runner = gateway.client.chat.completions.stream(chat);
    expect(await runner.finalContent()).toBe(answerText);
  });

  it('fail as an HTTP error, or as an event of the stream', async () => {
    bench.script = failAfterOneWord;
    const failure = { code: 'server_error', message: expect.stringContaining('the workers died') };
    const { completions } = gateway.client.chat;
    await expect(completions.create(chat)).rejects.toMatchObject({ status: 500, ...failure });

    const said: string[] = [];
    const reading = (async () => {
      for await (const chunk of await completions.create({ ...chat, stream: true })) {
        said.push(chunk.choices[0]?.delta.content ?? '');
      }
    })();
    await expect(reading).rejects.toBeInstanceOf(APIError);
    await expect(reading).rejects.toMatchObject(failure);
    expect(said.join('')).toBe('Hell');
  });

  it.each([true, false])('are cancelled when their client leaves (stream: %s)', async (stream) => {
    const started = Promise.withResolvers<string>();
    bench.script = async (job, writer, tokenizer) => {
      started.resolve(job.id);
      await waitForCancel(job, writer, tokenizer);
    };
    const leave = new AbortController();
    const reading = (async () => {
      const result = await gateway.client.chat.completions.create(
        { ...chat, stream },
        { signal: leave.signal },
      );
      if (Symbol.asyncIterator in result) await collect(result);
    })().catch(() => {});
    const id = await started.promise;
    leave.abort();
    await cancelled(id);
    await reading;
  });
});

describe('completions', () => {
  it('score a prompt without a token of output', async () => {
    const prompt = bench.model.tokenizer.encode('Once upon a time');
    const completion = await gateway.client.completions.create({
      model,
      prompt: [prompt, prompt],
      echo: true,
      logprobs: 1,
      max_tokens: 0,
    });
    expect(completion.choices.map(({ index }) => index)).toEqual([0, 1]);
    for (const choice of completion.choices) {
      expect(choice.text).toBe('<s>Once upon a time');
      expect(choice.logprobs?.tokens?.join('')).toBe(choice.text);
      expect(choice.logprobs?.token_logprobs).toEqual([null, -1, -2, -3, -4]);
      expect(choice.logprobs?.text_offset?.slice(0, 2)).toEqual([0, 3]);
    }
    expect(completion.usage).toMatchObject({ prompt_tokens: 10, completion_tokens: 0 });
  });

  it('stream', async () => {
    const pieces = await collect(
      await gateway.client.completions.create({ model, prompt: ['a', 'b'], max_tokens: 50, stream: true }),
    );
    for (const index of [0, 1]) {
      const choices = pieces.flatMap((piece) => piece.choices.filter((choice) => choice.index === index));
      expect(choices.map(({ text }) => text).join('')).toBe(answerText);
      expect(choices.at(-1)?.finish_reason).toBe('stop');
    }
  });
});

describe('responses', () => {
  it('answer at once, and can be read again', async () => {
    const created = await gateway.client.responses.create({ ...response, instructions: 'Be brief.' });
    expect(created).toMatchObject({
      status: 'completed',
      output_text: answerText,
      instructions: 'Be brief.',
    });
    expect(await gateway.client.responses.retrieve(created.id)).toEqual(created);
  });

  it('go on from any event, finished or not, on any gateway', async () => {
    const release = Promise.withResolvers<void>();
    bench.script = async (job, writer, tokenizer) => {
      await release.promise;
      await answer(job, writer, tokenizer);
    };
    const live = await gateway.client.responses.create({ ...response, stream: true });
    const events: { type: string; sequence_number: number }[] = [];
    let id = '';
    for await (const event of live) {
      events.push(event);
      if (event.type === 'response.created') id = event.response.id;
      if (event.type === 'response.in_progress') release.resolve();
    }
    expect(events.map(({ sequence_number }) => sequence_number)).toEqual(events.map((_, i) => i));
    expect(events.at(-1)?.type).toBe('response.completed');

    const { client } = await bench.startGateway();
    for (const [i] of events.entries()) {
      const tail = await collect(await client.responses.retrieve(id, { stream: true, starting_after: i }));
      expect(tail).toEqual(events.slice(i + 1));
    }
    expect(await collect(await client.responses.retrieve(id, { stream: true }))).toEqual(events);
  });

  it('run on without their client, unless nobody could read them again', async () => {
    for (const store of [true, false]) {
      const release = Promise.withResolvers<void>();
      bench.script = async (job, writer, tokenizer) => {
        await release.promise;
        await (store ? answer : waitForCancel)(job, writer, tokenizer);
      };
      let id = '';
      for await (const event of await gateway.client.responses.create({ ...response, store, stream: true })) {
        if (event.type === 'response.created') id = event.response.id;
        if (event.type === 'response.in_progress') break;
      }
      release.resolve();
      if (store) {
        const events = await collect(await gateway.client.responses.retrieve(id, { stream: true }));
        expect(events.at(-1)?.type).toBe('response.completed');
      } else {
        await cancelled(id);
        await expect(gateway.client.responses.retrieve(id)).rejects.toMatchObject({ status: 404 });
      }
    }
  });

  it('may run in the background', async () => {
    const created = await gateway.client.responses.create({ ...response, background: true });
    expect(created).toMatchObject({ status: 'queued', background: true, output: [] });
    const events = await collect(await gateway.client.responses.retrieve(created.id, { stream: true }));
    expect(events.at(-1)).toMatchObject({ type: 'response.completed', response: { id: created.id } });
  });

  it('fail as an HTTP error, or as an event of the stream, and stay to be read', async () => {
    bench.script = failAfterOneWord;
    await expect(gateway.client.responses.create(response)).rejects.toMatchObject({ status: 500 });
    const events = await collect(await gateway.client.responses.create({ ...response, stream: true }));
    const last = events.at(-1);
    expect(last).toMatchObject({ type: 'response.failed', response: { error: { code: 'server_error' } } });
    const id = last?.type === 'response.failed' ? last.response.id : '';
    expect(await gateway.client.responses.retrieve(id)).toMatchObject({
      status: 'failed',
      error: { code: 'server_error', message: 'the workers died' },
    });
  });

  it('take an earlier output by reference', async () => {
    const first = await gateway.client.responses.create(response);
    const prompts: string[] = [];
    bench.script = async (job, writer, tokenizer) => {
      prompts.push(tokenizer.decode(job.prompt));
      await answer(job, writer, tokenizer);
    };
    const input = [
      { role: 'user' as const, content: 'hi' },
      { type: 'item_reference' as const, id: first.output[0]?.id ?? '' },
      { role: 'user' as const, content: 'again' },
    ];
    await gateway.client.responses.create({ model, input });
    expect(prompts[0]).toContain(`Assistant\n${answerText}`);
  });

  it('are unknown where another endpoint made them', async () => {
    const completion = await gateway.client.chat.completions.create(chat);
    await expect(gateway.client.responses.retrieve(completion.id)).rejects.toMatchObject({
      status: 404,
      code: 'response_not_found',
    });
  });

  it('refuse a cursor that is ahead of what there is, and say how far that goes', async () => {
    const { id } = await gateway.client.responses.create(response);
    const resume = (starting_after: number) =>
      gateway.client.responses.retrieve(id, { stream: true, starting_after });
    const last = (await collect(await gateway.client.responses.retrieve(id, { stream: true }))).length - 1;
    expect(await collect(await resume(last))).toEqual([]);
    for (const ahead of [last + 1, Number.MAX_SAFE_INTEGER]) {
      await expect(resume(ahead)).rejects.toMatchObject({
        status: 400,
        code: 'invalid_value',
        param: 'starting_after',
        message: expect.stringMatching(new RegExp(` the last one is ${last}$`)),
      });
    }
  });

  it('refuse one of a response that runs as well, which runs on and may be resumed where it is', async () => {
    const [said, release] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    bench.script = async (job, writer, tokenizer) => {
      await writer.append({ kind: 'tokens', tokens: [77], text: 'Hell' });
      said.resolve();
      await release.promise;
      await answer(job, writer, tokenizer);
    };
    const { id } = await gateway.client.responses.create({ ...response, background: true });
    await said.promise;
    const resume = (starting_after: number) =>
      gateway.client.responses.retrieve(id, { stream: true, starting_after });
    // Created, queued, in progress, a message, its text, and a piece of that.
    await expect(resume(6)).rejects.toMatchObject({
      status: 400,
      code: 'invalid_value',
      param: 'starting_after',
    });
    const resumed = await resume(5);
    release.resolve();
    const events = await collect(resumed);
    expect(events[0]).toMatchObject({ type: 'response.output_text.delta', sequence_number: 6 });
    expect(events.at(-1)?.type).toBe('response.completed');
  });

  it('refuse a cursor that is none', async () => {
    const { id } = await gateway.client.responses.create(response);
    for (const query of ['stream=true&starting_after=x', 'starting_after=1', 'colour=red']) {
      const answer = await fetch(`${gateway.url}/v1/responses/${id}?${query}`);
      expect(answer.status, query).toBe(400);
    }
  });
});
