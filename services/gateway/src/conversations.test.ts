import type OpenAI from 'openai';
import { ResponsesWS } from 'openai/resources/responses/ws';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { answer, answerText, failAfterOneWord } from './testing/scripts.ts';
import { type RunningGateway, TestBench } from './testing/test-bench.ts';

const model = 'hymba-tiny-stories';

describe('conversations', () => {
  let bench: TestBench;
  let gateway: RunningGateway;
  let openai: OpenAI;
  beforeAll(async () => {
    bench = await TestBench.start();
    gateway = await bench.startGateway();
    openai = gateway.client;
  });
  afterAll(() => bench?.stop());

  const ask = (conversation: string, input: string, extra: object = {}) =>
    openai.responses.create({
      model,
      input,
      conversation,
      ...extra,
    } as OpenAI.Responses.ResponseCreateParamsNonStreaming);
  const textsOf = async (id: string) => {
    const texts: string[] = [];
    for await (const item of openai.conversations.items.list(id, { order: 'asc', limit: 3 })) {
      if (item.type === 'message')
        texts.push(item.content.map((part) => ('text' in part ? part.text : '')).join(''));
    }
    return texts;
  };
  const jobOf = async (id: string) => {
    const job = (await bench.log.read(id))?.job;
    if (!job) throw new Error(`${id} has no log`);
    return job;
  };
  const render = (texts: string[]) => {
    const messages = texts.map((content, i) => ({ role: i % 2 ? 'assistant' : 'user', content }));
    return bench.model.tokenizer.encode(bench.model.tokenizer.renderChat(messages), {
      addSpecialTokens: false,
    });
  };

  it('are made, read, named, and forgotten', async () => {
    const made = await openai.conversations.create({ metadata: { topic: 'boats' } });
    expect(made).toEqual({
      id: expect.stringMatching(/^conv_[0-9a-f]{32}$/),
      object: 'conversation',
      created_at: expect.any(Number),
      metadata: { topic: 'boats' },
    });
    expect(await openai.conversations.retrieve(made.id)).toEqual(made);
    const named = await openai.conversations.update(made.id, { metadata: { topic: 'cats' } });
    expect(named).toEqual({ ...made, metadata: { topic: 'cats' } });
    expect(await openai.conversations.delete(made.id)).toEqual({
      id: made.id,
      object: 'conversation.deleted',
      deleted: true,
    });
    const unknown = { status: 404, code: 'conversation_not_found' };
    await expect(openai.conversations.retrieve(made.id)).rejects.toMatchObject(unknown);
    await expect(openai.conversations.delete(made.id)).rejects.toMatchObject(unknown);
    await expect(ask(made.id, 'x')).rejects.toMatchObject({ ...unknown, param: 'conversation' });
  });

  it('hold what responses are asked and say, and each goes on from the state of the one before', async () => {
    const { id } = await openai.conversations.create();
    const first = await ask(id, 'one');
    expect(first.conversation).toEqual({ id });
    const second = await ask(id, 'two');
    const before = await bench.log.read(first.id);
    const tokens = (before?.job?.prompt.length ?? 0) + (before?.tokens.length ?? 0);
    expect((await jobOf(second.id)).parent).toEqual({ id: first.id, tokens });
    expect(await textsOf(id)).toEqual(['one', answerText, 'two', answerText]);
  });

  it('take items by hand, and are then rendered as a whole', async () => {
    const { id } = await openai.conversations.create({ items: [{ role: 'user', content: 'one' }] });
    const added = await openai.conversations.items.create(id, {
      items: [
        { role: 'assistant', content: 'two' },
        { role: 'user', content: 'three' },
      ],
    });
    expect(added.data).toMatchObject([
      { type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 'two' }] },
      { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'three' }] },
    ]);
    const last = added.data[1]?.id ?? '';
    expect(await openai.conversations.items.retrieve(last, { conversation_id: id })).toEqual(added.data[1]);
    await openai.conversations.items.delete(last, { conversation_id: id });
    await expect(openai.conversations.items.retrieve(last, { conversation_id: id })).rejects.toMatchObject({
      status: 404,
      code: 'item_not_found',
    });
    const response = await ask(id, 'four');
    const job = await jobOf(response.id);
    expect([job.parent, job.prompt]).toEqual([null, render(['one', 'two', 'four'])]);
    expect(await textsOf(id)).toEqual(['one', 'two', 'four', answerText]);
  });

  it('are locked while a response runs, on every gateway', async () => {
    const release = Promise.withResolvers<void>();
    bench.script = async (job, writer, tokenizer) => {
      await release.promise;
      await answer(job, writer, tokenizer);
    };
    const { id } = await openai.conversations.create();
    const running = await ask(id, 'one', { background: true });
    const locked = { status: 409, code: 'conversation_locked' };
    const other = (await bench.startGateway()).client;
    await expect(other.responses.create({ model, input: 'two', conversation: { id } })).rejects.toMatchObject(
      { ...locked, param: 'conversation' },
    );
    await expect(
      openai.conversations.items.create(id, { items: [{ role: 'user', content: 'x' }] }),
    ).rejects.toMatchObject(locked);
    release.resolve();
    for await (const _ of await openai.responses.retrieve(running.id, { stream: true }));
    bench.script = answer;
    const next = await other.responses.create({ model, input: 'two', conversation: { id } });
    expect((await jobOf(next.id)).parent?.id).toBe(running.id);
  });

  it('take nothing from a turn that only warms up', async () => {
    const { id } = await openai.conversations.create();
    const socket = new ResponsesWS(openai);
    const warm = new Promise<string>((resolve, reject) => {
      socket.on('response.completed', ({ response }) => resolve(response.id));
      socket.on('error', reject);
    });
    const create = { type: 'response.create', model, input: 'one', conversation: id, generate: false };
    socket.send(create as Parameters<typeof socket.send>[0]);
    await warm;
    socket.close();
    await ask(id, 'one');
    expect(await textsOf(id)).toEqual(['one', answerText]);
  });

  it('have nothing of a response that failed, and keep what a deleted one said', async () => {
    const { id } = await openai.conversations.create();
    bench.script = failAfterOneWord;
    await expect(ask(id, 'lost')).rejects.toMatchObject({ status: 500 });
    bench.script = answer;
    const kept = await ask(id, 'kept');
    await openai.responses.delete(kept.id);
    expect(await textsOf(id)).toEqual(['kept', answerText]);
    const next = await ask(id, 'next');
    expect((await jobOf(next.id)).prompt).toEqual(render(['kept', answerText, 'next']));
  });
});
