import { RequestError } from '@baton/errors';
import { withSpan } from '@baton/telemetry';
import type { FastifyInstance } from 'fastify';
import { pageQuery } from '../api/page-query.ts';
import { parseRequest } from '../api/parse-request.ts';
import { responseRequest } from '../api/response-request.ts';
import { retrieveQuery } from '../api/resume-query.ts';
import { accessOf } from '../auth/access.ts';
import { asBatonError, noteRefusal } from '../errors.ts';
import type { Gateway } from '../gateway.ts';
import { cancelGeneration } from '../generation/cancel.ts';
import { deleteResponse } from '../generation/delete-response.ts';
import { finish } from '../generation/follow.ts';
import { leave } from '../generation/leave.ts';
import { originOf } from '../generation/origin.ts';
import { followResponse, resumeResponse, startResponse } from '../generation/responses.ts';
import { readFollowed, readResponse } from '../generation/stored-responses.ts';
import { nameReturn } from '../generation/submit.ts';
import { recordResume } from '../record.ts';
import { inputItems } from '../render/input-items.ts';
import type { ResponseEvent } from '../render/response-events.ts';
import { responseObject } from '../render/response-object.ts';
import { clientSignal, sendFrames, sseFrame, takeStreamPlace } from '../sse.ts';
import { serveResponsesSocket } from '../ws/responses-socket.ts';
import { traced } from './traced.ts';

export function responseRoutes(app: FastifyInstance, gateway: Gateway): void {
  const { model, settings, stopping } = gateway;

  app.post(
    '/v1/responses',
    traced(gateway, async (request, reply, gateway) => {
      const body = parseRequest(responseRequest, request.body);
      const signal = clientSignal(reply, stopping);
      if (body.stream) takeStreamPlace(gateway, reply);
      const origin = await originOf(gateway, request, 'resp');
      const generation = await startResponse(gateway, body, { ...origin, generate: true });
      try {
        return await withSpan('deliver', {}, async () => {
          if (body.stream)
            return sendFrames(reply, frames(followResponse(gateway, generation, signal)), {
              ...settings,
              signal,
            });
          const state = body.background
            ? (origin.repeated && (await gateway.log.read(origin.id))) || generation.feed.state
            : await finish(gateway, generation, signal);
          return responseObject(state, generation.job, model.tokenizer);
        });
      } finally {
        leave(gateway, [generation], signal);
      }
    }),
  );

  app.get<{ Params: { id: string } }>(
    '/v1/responses/:id',
    traced(gateway, async (request, reply, gateway) => {
      const { stream, starting_after } = parseRequest(retrieveQuery, request.query);
      const { id } = request.params as { id: string };
      if (stream !== 'true') {
        const { state, job } = await readResponse(gateway, id);
        nameReturn(state);
        return responseObject(state, job, model.tokenizer);
      }
      takeStreamPlace(gateway, reply);
      const { state, job } = await readFollowed(gateway, id);
      nameReturn(state);
      const signal = clientSignal(reply, stopping);
      const cursor = starting_after ?? null;
      const { generation, events, stop } = await resumeResponse(gateway, { state, job }, cursor, signal);
      recordResume('sse');
      try {
        return await withSpan('deliver', {}, () =>
          sendFrames(reply, frames(events), { ...settings, signal }),
        );
      } finally {
        leave(gateway, [generation], signal);
        await stop();
      }
    }),
  );

  app.delete<{ Params: { id: string } }>(
    '/v1/responses/:id',
    traced(gateway, async (request, _, gateway) => {
      const { id } = request.params as { id: string };
      await deleteResponse(gateway, id);
      return { id, object: 'response', deleted: true };
    }),
  );

  app.post<{ Params: { id: string } }>(
    '/v1/responses/:id/cancel',
    traced(gateway, async (request, _, gateway) => {
      const { id } = request.params as { id: string };
      const { state, job } = await readFollowed(gateway, id);
      nameReturn(state);
      return responseObject(await cancelGeneration(gateway, job), job, model.tokenizer);
    }),
  );

  app.get<{ Params: { id: string } }>(
    '/v1/responses/:id/input_items',
    traced(gateway, async (request, _, gateway) => {
      const query = parseRequest(pageQuery, request.query);
      const { id } = request.params as { id: string };
      const { state, job } = await readResponse(gateway, id);
      nameReturn(state);
      return inputItems(job, query);
    }),
  );

  app.route({
    method: 'GET',
    url: '/v1/responses',
    handler: () => {
      throw new RequestError('invalid_request', 'GET /v1/responses is a WebSocket: send an upgrade request');
    },
    wsHandler: (socket, request) => {
      const access = accessOf(request);
      try {
        socket.once('close', gateway.streams.take(access.tenant));
      } catch (error) {
        noteRefusal(asBatonError(error), request);
        // Of those that clients come back on, the one that says why.
        socket.close(1013, 'too many connections');
        return;
      }
      serveResponsesSocket(gateway, socket, request, access);
    },
  });
}

async function* frames(events: AsyncIterable<ResponseEvent>): AsyncGenerator<string, void> {
  for await (const event of events) yield sseFrame(event, event.type);
}
