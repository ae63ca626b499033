import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DependencyError } from '@baton/errors';
import { Heartbeat, serveCommands } from '@baton/fleet';
import type { WorkerCommand, WorkerStatus } from '@baton/protocol';
import { exampleId } from '@baton/protocol/testing';
import { DiskStore } from '@baton/snapshot/disk-store';
import type OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { answer, answerText, waitForCancel } from './testing/scripts.ts';
import { type RunningGateway, TestBench } from './testing/test-bench.ts';

const model = 'hymba-tiny-stories';

describe('a conversation', () => {
  let bench: TestBench;
  let gateway: RunningGateway;
  let openai: OpenAI;
  beforeAll(async () => {
    bench = await TestBench.start();
    gateway = await bench.startGateway();
    openai = gateway.client;
  });
  afterAll(() => bench?.stop());

  const ask = (input: string, extra: object = {}) =>
    openai.responses.create({ model, input, ...extra } as OpenAI.Responses.ResponseCreateParamsNonStreaming);
  const jobOf = async (id: string) => {
    const job = (await bench.log.read(id))?.job;
    if (!job) throw new Error(`${id} has no log`);
    return job;
  };
  const render = (messages: { role: string; content: string }[]) =>
    bench.model.tokenizer.encode(bench.model.tokenizer.renderChat(messages), { addSpecialTokens: false });
  const user = (content: string) => ({ role: 'user', content });
  const assistant = { role: 'assistant', content: answerText };

  it('keeps the tokens of the turns before, and reads as if rendered as a whole', async () => {
    const first = await ask('Once');
    const second = await ask('And then?', { previous_response_id: first.id });
    const third = await ask('And then?', { previous_response_id: second.id });
    expect(second.previous_response_id).toBe(first.id);
    const before = await bench.log.read(first.id);
    const tokens = [...(before?.job?.prompt ?? []), ...(before?.tokens ?? [])];
    const job = await jobOf(second.id);
    expect(job.parent).toEqual({ id: first.id, tokens: tokens.length });
    expect(job.prompt.slice(0, tokens.length)).toEqual(tokens);
    const text = (ids: readonly number[]) => bench.model.tokenizer.decode([...ids]);
    const whole = [user('Once'), assistant, user('And then?')];
    expect(text(job.prompt)).toBe(text(render(whole)));
    expect(text((await jobOf(third.id)).prompt)).toBe(text(render([...whole, assistant, user('And then?')])));
  });

  it('branches', async () => {
    const first = await ask('Once');
    const [a, b] = await Promise.all(
      ['left', 'right'].map((way) => ask(way, { previous_response_id: first.id })),
    );
    const [left, right] = await Promise.all([jobOf(a?.id ?? ''), jobOf(b?.id ?? '')]);
    expect(left.parent).toEqual(right.parent);
    expect(left.prompt).not.toEqual(right.prompt);
  });

  it('with other instructions is rendered anew, since its beginning is another', async () => {
    const first = await ask('Once', { instructions: 'Be brief.' });
    const same = await ask('Go on', { instructions: 'Be brief.', previous_response_id: first.id });
    expect((await jobOf(same.id)).parent?.id).toBe(first.id);
    const none = await ask('Go on', { previous_response_id: same.id });
    const job = await jobOf(none.id);
    expect(job.parent).toBeNull();
    expect(job.prompt).toEqual(render([user('Once'), assistant, user('Go on'), assistant, user('Go on')]));
  });

  it('tells workers how long the beginning is that other conversations may have too', async () => {
    const instructions = 'You are a kind teller of short stories about boats, cats and the sea. '.repeat(8);
    const system = { role: 'system', content: instructions };
    const asked = await Promise.all(['Once', '0', 'a'].map((input) => ask(input, { instructions })));
    const [first, ...others] = await Promise.all(asked.map(({ id }) => jobOf(id)));
    if (!first) throw new Error('no job');
    const shared = first.shared_prefix ?? 0;
    expect(shared).toBeGreaterThanOrEqual(64);
    for (const { prompt, shared_prefix } of others) {
      expect(shared_prefix).toBe(shared);
      expect(prompt.slice(0, shared)).toEqual(first.prompt.slice(0, shared));
    }
    expect(bench.model.tokenizer.decode(first.prompt.slice(0, shared))).toContain(instructions.trim());
    expect(first.prompt.length - shared).toBeLessThan(24);

    const next = await ask('And then?', { instructions, previous_response_id: first.id });
    expect(await jobOf(next.id)).toMatchObject({ parent: { id: first.id }, shared_prefix: shared });
    const chat = await openai.chat.completions.create({
      model,
      messages: [system, user('Once')] as OpenAI.ChatCompletionMessageParam[],
    });
    expect((await jobOf(chat.id)).shared_prefix).toBe(shared);
    const short = await ask('Once', { instructions: 'Be brief.' });
    expect((await jobOf(short.id)).shared_prefix).toBeUndefined();
    expect((await jobOf((await ask('Once '.repeat(100))).id)).shared_prefix).toBeUndefined();
  });

  it('goes on from a finished response of this tenant only', async () => {
    const unknown = ask('x', { previous_response_id: exampleId() });
    await expect(unknown).rejects.toMatchObject({
      status: 404,
      code: 'response_not_found',
      param: 'previous_response_id',
    });
    const unstored = await ask('x', { store: false });
    await expect(ask('y', { previous_response_id: unstored.id })).rejects.toMatchObject({ status: 404 });
  });

  it('tells what was asked, page by page', async () => {
    const input = [
      { role: 'user', content: 'one' },
      { role: 'assistant', content: 'two' },
      { role: 'user', content: 'three' },
    ] as OpenAI.Responses.ResponseInput;
    const response = await openai.responses.create({ model, input });
    const texts: string[] = [];
    for await (const item of openai.responses.inputItems.list(response.id, { order: 'asc', limit: 2 })) {
      if (item.type === 'message')
        texts.push(...item.content.map((part) => ('text' in part ? part.text : '')));
    }
    expect(texts).toEqual(['one', 'two', 'three']);
  });

  it('is forgotten on request', async () => {
    const response = await ask('Once');
    const deleted = await fetch(`${gateway.url}/v1/responses/${response.id}`, { method: 'DELETE' });
    expect(await deleted.json()).toEqual({ id: response.id, object: 'response', deleted: true });
    await expect(openai.responses.retrieve(response.id)).rejects.toMatchObject({ status: 404 });
    await expect(ask('x', { previous_response_id: response.id })).rejects.toMatchObject({ status: 404 });
    await expect(openai.responses.delete(response.id)).rejects.toMatchObject({ status: 404 });
  });

  it('is forgotten with its state, or not yet where that cannot be reached', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'baton-snapshots-'));
    const store = new DiskStore(folder, { ttlSeconds: 60, quotaBytes: 1e9, totalBytes: 1e9 });
    const forget = vi.spyOn(store, 'delete');
    forget.mockRejectedValueOnce(new DependencyError('snapshots', 'the store is away'));
    const { client } = await bench.startGateway({}, { snapshots: store });
    const { id } = await ask('Once');
    await store.putManifest('default', id, { bytes: new Uint8Array(8), pages: [] }, null);
    await expect(client.responses.delete(id)).rejects.toMatchObject({ status: 503 });
    await client.responses.delete(id);
    expect(await store.getManifest('default', id)).toBeNull();
    await expect(client.responses.delete(id)).rejects.toMatchObject({ status: 404 });
    await rm(folder, { recursive: true });
  });

  it('is forgotten by the workers, too', async () => {
    const { connection } = bench.log;
    const heartbeat = await Heartbeat.start(bench.servers.nats.url);
    const status: WorkerStatus = {
      v: 1,
      worker: 'keeping',
      pid: 1,
      host: 'here',
      state: 'running',
      device: 'cpu',
      model,
      fingerprint: 'f',
      slots: 1,
      generations: [],
    };
    heartbeat.say(status);
    const commands: WorkerCommand[] = [];
    const stop = serveCommands(connection, 'keeping', (command) => {
      commands.push(command);
      return { done: true, reason: '' };
    });
    const { id } = await ask('Once');
    await expect.poll(async () => (await fetch(`${gateway.url}/admin/workers`)).text()).toContain('keeping');
    await openai.responses.delete(id);
    await expect.poll(() => commands).toEqual([{ v: 1, kind: 'forget', tenant: 'default', generation: id }]);
    stop();
    await heartbeat.stop({ ...status, state: 'stopped' });
  });

  it('is forgotten while it runs, and not begun anew, neither by its job nor by its request', async () => {
    const [begun, deleted] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const ran: string[] = [];
    bench.script = async (job, writer) => {
      ran.push(job.id);
      await writer.append({ kind: 'tokens', tokens: [77], text: 'Hell' });
      begun.resolve();
      // As a worker that is lost: it neither ends it nor gives its job up.
      await deleted.promise;
      throw new DependencyError('nats', 'the worker is cut off');
    };
    const create = () =>
      openai.responses.create(
        { model, input: 'Once', background: true },
        { headers: { 'idempotency-key': 'once' } },
      );
    const { id } = await create();
    await begun.promise;
    await openai.responses.delete(id);
    deleted.resolve();
    await expect.poll(() => bench.queue.has(id)).toBe(false);
    bench.script = answer;
    const notFound = { status: 404, code: 'response_not_found' };
    await expect(openai.responses.retrieve(id)).rejects.toMatchObject(notFound);
    await expect(openai.responses.cancel(id)).rejects.toMatchObject(notFound);
    await expect(openai.responses.delete(id)).rejects.toMatchObject(notFound);
    await expect(create()).rejects.toMatchObject(notFound);
    expect(ran).toEqual([id]);
    expect(await bench.log.read(id)).toBeNull();
  });

  it('is not cancelled once it has ended', async () => {
    const ended = await ask('Once');
    expect((await openai.responses.cancel(ended.id)).status).toBe('completed');
  });

  it('is cancelled while it waits, without a worker', async () => {
    await bench.stopConsumer();
    const waiting = await ask('Once', { background: true });
    const other = await bench.startGateway();
    expect(await other.client.responses.cancel(waiting.id)).toMatchObject({
      status: 'cancelled',
      output: [{ content: [{ text: '' }] }],
    });
    expect(await bench.queue.counts()).toMatchObject({ waiting: 0 });
    await bench.startConsumer();
  });

  it('is cancelled from another gateway while two follow it, and both hear of it', async () => {
    bench.script = waitForCancel;
    const { id } = await ask('Once', { background: true });
    const other = await bench.startGateway();
    const streams = [openai, other.client].map((client) => client.responses.retrieve(id, { stream: true }));
    const [first, second] = await Promise.all(
      (await Promise.all(streams)).map(async (stream) => {
        const events: { type: string }[] = [];
        for await (const event of stream) {
          events.push(event);
          if (event.type === 'response.output_text.delta') await other.client.responses.cancel(id);
        }
        return events;
      }),
    );
    expect(first?.at(-1)).toMatchObject({ type: 'response.incomplete', response: { status: 'cancelled' } });
    expect(second).toEqual(first);
    bench.script = answer;
  });
});
