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
import type { ClientOrder, ClientReport } from '../messages.ts';

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

const report: ClientReport = {
  opened: 0,
  tokens: 0,
  frames: 0,
  ttftMs: [],
  addedMs: [],
  seconds: 0,
  whole: 0,
};
const open: WebSocket[] = [];
for (let i = 0; i < sockets; i += 100) {
  const some = Array.from({ length: Math.min(100, sockets - i) }, () => new WebSocket(`${url}/v1/responses`));
  await Promise.all(some.map((socket) => once(socket, 'open')));
  open.push(...some);
}
report.opened = open.length;
process.send?.({ opened: open.length });

/** One response over one socket, to its end. */
function follow(socket: WebSocket): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const deltas: number[] = [];
  let id = '';
  let said = 0;
  const askedAt = performance.now();
  socket.on('message', (data) => {
    const at = performance.now();
    const frame = JSON.parse(String(data));
    report.frames++;
    switch (frame.type) {
      case 'response.created':
        id = frame.response.id;
        break;
      case 'response.output_text.delta':
        if (deltas.length === 0) report.ttftMs.push(at - askedAt);
        deltas.push(at);
        said += frame.delta.length;
        report.tokens += frame.delta.length;
        break;
      case 'error':
      case 'response.failed':
        throw new Error(String(data));
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

const start = performance.now();
await Promise.all(
  open.slice(0, streams).map(async (socket, i) => {
    await sleep((spreadMs * i) / streams);
    await follow(socket);
  }),
);
report.seconds = (performance.now() - start) / 1000;
process.send?.({ report });
await once(process, 'message');
process.exit();
