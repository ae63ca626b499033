import { exampleId } from '@baton/protocol/testing';
import OpenAI from 'openai';
import { ResponsesWS } from 'openai/resources/responses/ws';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { answer, answerText, waitForCancel } from '../testing/scripts.ts';
import { type RunningGateway, TestBench } from '../testing/test-bench.ts';

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

interface Frame {
  readonly type: string;
  readonly sequence_number?: number;
  readonly stream_id?: string;
  readonly delta?: string;
  readonly response?: { readonly id: string; readonly status: string };
}

/** A socket and every frame it gets. */
async function connect(query = '', protocols: string[] = [], url = gateway.url) {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/v1/responses${query}`, protocols);
  const frames: Frame[] = [];
  socket.on('message', (data) => frames.push(JSON.parse(data.toString())));
  let requestId: unknown;
  socket.once('upgrade', ({ headers }) => {
    requestId = headers['x-request-id'];
  });
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
  return {
    socket,
    requestId,
    send: (frame: unknown) => socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame)),
    /** All frames so far, once there are `count` like `wanted`. */
    until: (wanted: (frame: Frame) => boolean, count = 1) =>
      new Promise<Frame[]>((resolve) => {
        const look = () => {
          if (frames.filter(wanted).length < count) return;
          socket.off('message', look);
          resolve([...frames]);
        };
        socket.on('message', look);
        look();
      }),
  };
}

const create = (fields: Record<string, unknown> = {}) => ({
  type: 'response.create',
  model,
  input: 'hi',
  ...fields,
});
const isEnd = (frame: Frame) => /^response\.(completed|incomplete|failed)$/.test(frame.type);
const isError = (frame: Frame) => frame.type === 'error';

describe('the responses socket', () => {
  it('serves the unmodified client', async () => {
    const socket = new ResponsesWS(gateway.client);
    const text: string[] = [];
    const completed = new Promise((resolve, reject) => {
      socket.on('response.output_text.delta', ({ delta }) => text.push(delta));
      socket.on('response.completed', ({ response }) => resolve(response.status));
      socket.on('error', reject);
    });
    socket.send({ type: 'response.create', model, input: 'hi' });
    expect(await completed).toBe('completed');
    expect(text.join('')).toBe(answerText);
    socket.close();
  });

  it('runs a lane first in first out, and another beside it', async () => {
    const release = Promise.withResolvers<void>();
    const started: string[] = [];
    bench.script = async (job, writer, tokenizer) => {
      const { name } = Object(job.echo['metadata']);
      started.push(name);
      if (name === 'a1') await release.promise;
      await answer(job, writer, tokenizer);
    };
    const { socket, send, until } = await connect();
    for (const name of ['a1', 'a2', 'b1']) send(create({ stream_id: name[0], metadata: { name } }));

    const inLane = (lane: string) => (frame: Frame) => frame.stream_id === lane;
    const early = await until((frame) => inLane('b')(frame) && isEnd(frame));
    expect(early.filter(isEnd).map((frame) => frame.stream_id)).toEqual(['b']);
    expect(started).not.toContain('a2');
    release.resolve();
    const all = await until((frame) => inLane('a')(frame) && isEnd(frame), 2);
    const laneA = all.filter(inLane('a'));
    expect(laneA).toHaveLength(all.length - early.filter(inLane('b')).length);
    // Each response's events are contiguous: the second begins after the first has ended.
    expect(laneA.map((frame) => frame.sequence_number)).toEqual(
      [0, 1].flatMap(() => laneA.slice(0, laneA.length / 2).map((_, i) => i)),
    );
    socket.close();
  });

  it('answers what it cannot do with an error frame, and stays open', async () => {
    const { socket, send, until } = await connect();
    const refused: [unknown, string, string | null][] = [
      ['{', 'invalid_json', null],
      [`{"type":"response.steer","input":${'['.repeat(9000)}${']'.repeat(9000)}}`, 'invalid_json', null],
      ['[]', 'invalid_type', null],
      [{ type: 'response.cancel' }, 'invalid_value', 'type'],
      [create({ colour: 'red' }), 'unknown_parameter', 'colour'],
      [create({ model: 'gpt' }), 'model_not_found', 'model'],
      [create({ background: true }), 'unsupported_parameter', 'background'],
    ];
    for (const [i, [frame, code, param]] of refused.entries()) {
      send(frame);
      const frames = await until(isError, i + 1);
      expect(frames.at(-1)).toMatchObject({
        status: code === 'model_not_found' ? 404 : 400,
        error: { type: 'invalid_request_error', code, param, message: expect.any(String) },
      });
    }
    send(create({ stream_id: 's', temperature: 9 }));
    expect((await until(isError, refused.length + 1)).at(-1)?.stream_id).toBe('s');

    send(create());
    await until(isEnd);
    socket.close();
  });

  it('refuses steering by its own event', async () => {
    const { socket, send, until } = await connect();
    send({ type: 'response.steer', previous_response_id: 'resp_1', input: 'faster' });
    const [frame] = await until(({ type }) => type === 'response.steer.failed');
    expect(frame).toMatchObject({
      error: { code: 'steering_not_supported', type: 'invalid_request_error' },
      steer: { input: 'faster', previous_response_id: 'resp_1' },
    });
    socket.close();
  });

  it('warms up without generating', async () => {
    const limits: number[] = [];
    bench.script = async (job, writer, tokenizer) => {
      limits.push(job.sampling.max_tokens);
      await answer(job, writer, tokenizer);
    };
    const { socket, send, until } = await connect();
    send(create({ generate: false }));
    const frames = await until(isEnd);
    expect(frames.at(-1)).toMatchObject({ type: 'response.completed', response: { output: [] } });
    expect(limits).toEqual([0]);
    socket.close();
  });

  it('resumes the response that the URL names, before anything else', async () => {
    const { client } = gateway;
    const { id } = await client.responses.create({ model, input: 'hi' });
    const whole: unknown[] = [];
    for await (const event of await client.responses.retrieve(id, { stream: true })) whole.push(event);

    const { socket, send, until } = await connect(`?response_id=${id}&starting_after=6`);
    send(create());
    const frames = await until(isEnd, 2);
    expect(frames.slice(0, whole.length - 7)).toEqual(whole.slice(7));
    expect(frames[whole.length - 7]?.type).toBe('response.created');
    socket.close();
  });

  it('says that there is no such event of a response to resume, and goes on', async () => {
    const { id } = await gateway.client.responses.create({ model, input: 'hi' });
    const { socket, send, until } = await connect(`?response_id=${id}&starting_after=4711`);
    expect((await until(isError))[0]).toMatchObject({
      status: 400,
      error: {
        code: 'invalid_value',
        param: 'starting_after',
        message: expect.stringMatching(/the last one is \d+$/),
      },
    });
    send(create());
    expect((await until(isEnd)).at(-1)?.type).toBe('response.completed');
    socket.close();
  });

  it('says that a response to resume is gone', async () => {
    const { socket, until } = await connect(`?response_id=${exampleId()}`);
    expect((await until(isError))[0]).toMatchObject({ status: 404, error: { code: 'response_not_found' } });
    socket.close();
  });

  it('cancels, when its client leaves, only what nobody could read again', async () => {
    for (const store of [true, false]) {
      bench.script = store ? answer : waitForCancel;
      const { socket, send, until } = await connect();
      send(create({ store }));
      const [created] = await until(({ type }) => type === 'response.in_progress');
      socket.terminate();
      const feed = await bench.log.subscribe(created?.response?.id ?? '');
      for await (const _ of feed.entries()) {
        // The state below is the fold of them all.
      }
      expect(feed.state.terminal).toMatchObject({ reason: store ? 'stop' : 'cancelled' });
    }
  });

  it('holds back, rather than in memory, what a slow client does not read', async () => {
    const piece = 'a'.repeat(80_000);
    const pieces = 150;
    bench.script = async (job, writer) => {
      for (let i = 0; i < pieces; i++) await writer.append({ kind: 'tokens', tokens: [i], text: piece });
      const usage = { prompt_tokens: job.prompt.length, cached_tokens: 0, completion_tokens: pieces };
      await writer.append({ kind: 'finish', reason: 'stop', usage });
    };
    const slow = await bench.startGateway();
    const { socket, send, until } = await connect('', [], slow.url);
    send(create());
    const [created] = await until(({ type }) => type === 'response.in_progress');
    socket.pause();
    // Somebody who reads everything ends when all has been there to be sent to the slow one, too.
    const id = created?.response?.id ?? '';
    for await (const _ of await slow.client.responses.retrieve(id, { stream: true })) {
      // Only the end matters.
    }
    const [serverSide] = slow.server.app.websocketServer.clients;
    expect(serverSide?.bufferedAmount).toBeLessThan(3 * piece.length);

    socket.resume();
    const frames = await until(isEnd);
    const deltas = frames.filter(({ type }) => type === 'response.output_text.delta');
    expect(deltas.map(({ delta }) => delta).join('')).toBe(piece.repeat(pieces));
    expect(frames.map((frame) => frame.sequence_number)).toEqual(frames.map((_, i) => i));
    socket.close();
  });

  it('answers with its request id, and never with the subprotocol that holds the key', async () => {
    const { socket, requestId } = await connect('', ['openai-insecure-api-key.sk-1', 'realtime']);
    expect(socket.protocol).toBe('realtime');
    expect(requestId).toMatch(/^req_[0-9a-f]{32}$/);
    socket.close();
  });

  it('sends its clients elsewhere when the gateway stops, and they go on there', async () => {
    const release = Promise.withResolvers<void>();
    bench.script = async (job, writer, tokenizer) => {
      await release.promise;
      await answer(job, writer, tokenizer);
    };
    const stopping = await bench.startGateway();
    const other = await bench.startGateway();
    const client = new OpenAI({ baseURL: `${stopping.url}/v1`, apiKey: 'none' });
    let id = '';
    let last = -1;
    const socket = new ResponsesWS(client, {
      reconnect: {
        initialDelay: 10,
        onReconnecting: ({ closeCode }) => {
          expect(closeCode).toBe(1012);
          client.baseURL = `${other.url}/v1`;
          return { parameters: { response_id: id, starting_after: last } };
        },
      },
    });
    const sequence: number[] = [];
    const text: string[] = [];
    const started = Promise.withResolvers<void>();
    const completed = new Promise((resolve, reject) => {
      socket.on('event', (event) => {
        if (!('sequence_number' in event) || event.sequence_number === undefined) return;
        last = event.sequence_number;
        sequence.push(last);
        if (event.type === 'response.created') id = event.response.id;
        if (event.type === 'response.in_progress') started.resolve();
        if (event.type === 'response.output_text.delta') text.push(event.delta);
        if (event.type === 'response.completed') resolve(event);
      });
      socket.on('error', reject);
    });
    socket.send({ type: 'response.create', model, input: 'hi' });
    await started.promise;
    await stopping.server.stop(5000);
    release.resolve();
    await completed;
    expect(text.join('')).toBe(answerText);
    expect(sequence).toEqual(sequence.map((_, i) => i));
    socket.close();
  });
});
