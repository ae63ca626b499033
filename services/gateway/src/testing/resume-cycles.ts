import { on } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { WebSocket } from 'ws';
import type { Script } from './scripts.ts';

interface Event {
  readonly type: string;
  readonly sequence_number: number;
  readonly response?: { readonly id: string };
}
/** A connection that gives a response's events, and may be dropped at any moment. */
interface Connection {
  readonly events: AsyncIterable<Event>;
  drop(): void;
}
/** From 0 up to and without 1. */
export type Random = () => number;

const model = 'hymba-tiny-stories';
const pieces = 40;
const isEnd = ({ type }: Event) => /^response\.(completed|incomplete|failed)$/.test(type);

/** Says `pieces` words with pauses between them, so that clients come and go in its middle. */
export function hesitate(random: Random): Script {
  return async (job, writer) => {
    for (let i = 0; i < pieces; i++) {
      await delay(Math.floor(random() * 6));
      await writer.append({ kind: 'tokens', tokens: [i], text: `${i} ` });
    }
    const usage = { prompt_tokens: job.prompt.length, cached_tokens: 0, completion_tokens: pieces };
    await writer.append({ kind: 'finish', reason: 'stop', usage });
  };
}

/**
 * Reads one response over connections that are dropped at random, each resumed on a random gateway over SSE or WebSocket.
 * Gives how often it came back. Throws where anything is missing, or came twice.
 */
export async function readWithDrops(urls: readonly string[], random: Random): Promise<number> {
  const pick = <T>(list: readonly T[]) => list[Math.floor(random() * list.length)] as T;
  const seen: Event[] = [];
  let id = '';
  let returns = -1;
  while (!seen.some(isEnd)) {
    const url = pick(urls);
    const after = seen.at(-1)?.sequence_number;
    const overSocket = random() < 0.5;
    const connection =
      id === ''
        ? await (overSocket ? createOverSocket(url) : createOverSse(url))
        : await (overSocket ? resumeOverSocket(url, id, after) : resumeOverSse(url, id, after));
    returns++;
    // The first connection has to tell the id.
    let left = id === '' ? 1 + Math.floor(random() * 6) : Math.floor(random() * 10);
    try {
      for await (const event of left === 0 ? [] : connection.events) {
        seen.push(event);
        id ||= event.response?.id ?? '';
        if (isEnd(event) || --left === 0) break;
      }
    } finally {
      connection.drop();
    }
  }
  const whole: Event[] = [];
  for await (const event of (await resumeOverSse(pick(urls), id, undefined)).events) whole.push(event);
  const numbers = seen.map(({ sequence_number }) => sequence_number);
  if (numbers.some((number, i) => number !== i)) throw new Error(`${id} was read as ${numbers}`);
  if (JSON.stringify(seen) !== JSON.stringify(whole)) throw new Error(`${id} differs from its log`);
  const said = whole.filter(({ type }) => type === 'response.output_text.delta').length;
  if (said !== pieces) throw new Error(`${id} has ${said} deltas, not ${pieces}`);
  return returns;
}

const body = { model, input: 'hi' };

async function createOverSse(url: string): Promise<Connection> {
  return sse(`${url}/v1/responses`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ ...body, stream: true }),
  });
}

async function resumeOverSse(url: string, id: string, after: number | undefined): Promise<Connection> {
  const cursor = after === undefined ? '' : `&starting_after=${after}`;
  return sse(`${url}/v1/responses/${id}?stream=true${cursor}`);
}

async function sse(url: string, init: RequestInit = {}): Promise<Connection> {
  const leave = new AbortController();
  const response = await fetch(url, { ...init, signal: leave.signal });
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
  return { events: sseEvents(response), drop: () => leave.abort() };
}

async function* sseEvents(response: Response): AsyncGenerator<Event> {
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    const frames = text.split('\n\n');
    text = frames.pop() ?? '';
    for (const frame of frames) {
      const [, data] = /^data: (.*)$/m.exec(frame) ?? [];
      if (data !== undefined) yield JSON.parse(data);
    }
  }
}

async function createOverSocket(url: string): Promise<Connection> {
  const { socket, connection } = socketTo(url, '');
  socket.once('open', () => socket.send(JSON.stringify({ type: 'response.create', ...body })));
  return connection;
}

async function resumeOverSocket(url: string, id: string, after: number | undefined): Promise<Connection> {
  const cursor = after === undefined ? '' : `&starting_after=${after}`;
  return socketTo(url, `?response_id=${id}${cursor}`).connection;
}

function socketTo(url: string, query: string): { socket: WebSocket; connection: Connection } {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/v1/responses${query}`);
  const messages = on(socket, 'message', { close: ['close'] });
  // One that is dropped while it opens fails, which is what was asked for.
  socket.on('error', () => {});
  async function* events(): AsyncGenerator<Event> {
    for await (const [data] of messages) {
      const event = JSON.parse(String(data));
      if (event.type === 'error') throw new Error(String(data));
      yield event;
    }
  }
  return { socket, connection: { events: events(), drop: () => socket.terminate() } };
}
