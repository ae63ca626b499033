import { AccessError, RequestError } from '@baton/errors';
import { attributes, withSpan } from '@baton/telemetry';
import type { WebSocket } from '@fastify/websocket';
import { context, propagation, SpanKind } from '@opentelemetry/api';
import type { FastifyRequest } from 'fastify';
import { parseRequest } from '../api/parse-request.ts';
import { responseCreateFrame } from '../api/response-request.ts';
import { resumeQuery } from '../api/resume-query.ts';
import type { Access } from '../auth/access.ts';
import { asBatonError, noteRefusal } from '../errors.ts';
import type { Gateway, TenantGateway } from '../gateway.ts';
import { leave } from '../generation/leave.ts';
import { newOrigin } from '../generation/origin.ts';
import { followResponse, resumeResponse, startResponse } from '../generation/responses.ts';
import { readFollowed } from '../generation/stored-responses.ts';
import { type Generation, nameReturn } from '../generation/submit.ts';
import { recordResume } from '../record.ts';
import type { ResponseEvent } from '../render/response-events.ts';
import { errorFrame, holdBack, readFrame, sendFrame } from './frames.ts';
import { keepAlive } from './keep-alive.ts';
import { Lanes } from './lanes.ts';

/**
 * One WebSocket of the Responses API. Each `response.create` runs in the lane of its `stream_id`; the URL may name a
 * response to resume, which goes first in the lane without a name. Errors are frames, and the socket stays open.
 */
export function serveResponsesSocket(
  server: Gateway,
  socket: WebSocket,
  request: FastifyRequest,
  access: Access,
): void {
  const gateway: TenantGateway = { ...server, tenant: access.tenant, setHeader: () => {} };
  const gone = new AbortController();
  socket.once('close', () => gone.abort());
  const signal = AbortSignal.any([gone.signal, gateway.stopping]);
  const parent = propagation.extract(context.active(), request.headers);
  const lanes = new Lanes();
  keepAlive(socket, gateway.settings.keepAliveMs);

  if (Object.keys(Object(request.query)).length > 0) addToLane(undefined, 0, 'resume', resume);
  socket.on('message', (data: Buffer, isBinary: boolean) => receive(data, isBinary));

  function receive(data: Buffer, isBinary: boolean): void {
    let streamId: string | undefined;
    try {
      const frame = readFrame(data, isBinary);
      if (typeof frame['stream_id'] === 'string') streamId = frame['stream_id'];
      switch (frame['type']) {
        case 'response.create':
          addToLane(streamId, data.length, 'response.create', () => create(frame, streamId));
          break;
        case 'response.steer':
          void sendFrame(socket, steerFailed(frame), streamId);
          break;
        default:
          throw new RequestError('invalid_value', "'type' must be response.create", 'type');
      }
    } catch (error) {
      fail(error, streamId);
    }
    holdBack(socket);
  }

  function addToLane(
    streamId: string | undefined,
    bytes: number,
    name: string,
    task: () => Promise<void>,
  ): void {
    lanes.add(streamId, bytes, async () => {
      if (signal.aborted) return;
      const run = async () => {
        try {
          await task();
        } catch (error) {
          if (!signal.aborted) fail(error, streamId);
          throw error;
        }
      };
      const settings = { kind: SpanKind.SERVER, parent, attributes: { [attributes.requestId]: request.id } };
      // Whatever it threw has been told to the client, the log and the span.
      await gateway.tasks.run(() => withSpan(`WebSocket ${name}`, settings, run)).catch(() => {});
    });
  }

  async function create(frame: Record<string, unknown>, streamId: string | undefined): Promise<void> {
    await access.check();
    const { body, generate } = parseRequest(responseCreateFrame, frame);
    const generation = await startResponse(gateway, body, { ...newOrigin('resp', gateway.tenant), generate });
    await deliver(generation, followResponse(gateway, generation, signal), streamId);
  }

  async function resume(): Promise<void> {
    const query = parseRequest(resumeQuery, request.query);
    const { state, job } = await readFollowed(gateway, query.response_id);
    nameReturn(state);
    const cursor = query.starting_after ?? null;
    const { generation, events, stop } = await resumeResponse(gateway, { state, job }, cursor, signal);
    recordResume('websocket');
    try {
      await deliver(generation, events, undefined);
    } finally {
      await stop();
    }
  }

  async function deliver(
    generation: Generation,
    events: AsyncIterable<ResponseEvent>,
    streamId: string | undefined,
  ): Promise<void> {
    try {
      await withSpan('deliver', {}, async () => {
        for await (const event of events) {
          const slow = sendFrame(socket, event, streamId);
          if (slow) await slow;
        }
      });
    } finally {
      leave(gateway, [generation], signal);
    }
  }

  function fail(thrown: unknown, streamId: string | undefined): void {
    const error = asBatonError(thrown);
    noteRefusal(error, request);
    void sendFrame(socket, errorFrame(error), streamId);
    // A code that clients take as final.
    if (error instanceof AccessError) socket.close(1008, error.code);
  }
}

/** Hymba reads its input before it writes, so nothing can be added to a response that runs. */
function steerFailed(frame: Record<string, unknown>): Record<string, unknown> {
  return {
    type: 'response.steer.failed',
    sequence_number: 0,
    error: {
      type: 'invalid_request_error',
      code: 'steering_not_supported',
      message: 'a running response takes no further input; create another one instead',
    },
    steer: { input: frame['input'] ?? '', previous_response_id: frame['previous_response_id'] ?? null },
  };
}
