/**
 * Clients in a process of their own. Each opens a WebSocket; `streams` of them ask for one response each, spread over
 * `spreadMs`, whatever the answers do (open loop). The same process listens to the log's live feed, as the echo that the
 * gateway's frames are compared with. Reports over IPC.
 */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { liveStreamSubjects } from '@baton/protocol';
import { connect } from '@nats-io/transport-node';
import { WebSocket } from 'ws';
import type { ClientMessage, ClientOrder, ClientReport } from '../messages.ts';

const [order] = (await once(process, 'message')) as [ClientOrder];
const { url, natsUrl, sockets, streams, tokens, spreadMs, echo } = order;

const nats = await connect({ servers: natsUrl });
/** When each entry with tokens came over NATS, by generation. */
const echoes = new Map<string, number[]>();
if (echo) {
  const mark = Buffer.from('"kind":"tokens"');
  nats.subscribe(liveStreamSubjects(0), {
    callback: (_, { subject, data }) => {
      const at = performance.now();
      if (!Buffer.from(data.buffer, data.byteOffset, data.length).includes(mark)) return;
      const id = subject.slice(subject.lastIndexOf('.') + 1);
      const times = echoes.get(id);
      if (times) times.push(at);
      else echoes.set(id, [at]);
    },
  });
  await nats.flush();
}

const say = (message: ClientMessage) => process.send?.(message);
const report: ClientReport = { ttftMs: [], addedMs: [], whole: 0 };
const delivered = { begun: 0, tokens: 0, frames: 0 };
process.on('message', (message) => {
  if (message === 'count') say({ delivered });
  if (message === 'end') process.exit();
});

const open: WebSocket[] = [];
for (let i = 0; i < sockets; i += 100) {
  const options = { perMessageDeflate: false, skipUTF8Validation: true };
  const some = Array.from(
    { length: Math.min(100, sockets - i) },
    () => new WebSocket(`${url}/v1/responses`, options),
  );
  await Promise.all(some.map((socket) => once(socket, 'open')));
  open.push(...some);
}
say({ opened: open.length });

const deltaStart = '{"type":"response.output_text.delta"';
/** Characters of a delta's text, or -1 for another frame: without parsing, since these are nearly all. Texts are plain ASCII. */
function deltaLength(frame: string): number {
  if (!frame.startsWith(deltaStart)) return -1;
  const before = '"delta":"';
  return frame.lastIndexOf('","logprobs"') - frame.indexOf(before) - before.length;
}

/** One response over one socket, to its end. */
function follow(socket: WebSocket): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const deltas: number[] = [];
  let id = '';
  let said = 0;
  const askedAt = performance.now();
  socket.on('message', (data) => {
    const at = performance.now();
    const text = (data as Buffer).toString('latin1');
    delivered.frames++;
    const length = deltaLength(text);
    if (length >= 0) {
      if (deltas.length === 0) {
        report.ttftMs.push(at - askedAt);
        delivered.begun++;
      }
      deltas.push(at);
      said += length;
      delivered.tokens += length;
      return;
    }
    const frame = JSON.parse(text);
    switch (frame.type) {
      case 'response.created':
        id = frame.response.id;
        break;
      case 'error':
      case 'response.failed':
        throw new Error(text);
      case 'response.incomplete':
      case 'response.completed': {
        if (said === tokens) report.whole++;
        const live = echoes.get(id) ?? [];
        deltas.forEach((delta, k) => {
          const before = live[k];
          if (before !== undefined) report.addedMs.push(delta - before);
        });
        resolve();
      }
    }
  });
  const create = { type: 'response.create', model: order.model, input: 'Tell me a story about a boat.' };
  socket.send(JSON.stringify({ ...create, max_output_tokens: tokens, ignore_eos: true, temperature: 0 }));
  return promise;
}

await Promise.all(
  open.slice(0, streams).map(async (socket, i) => {
    await sleep((spreadMs * i) / streams);
    await follow(socket);
  }),
);
say({ report });
