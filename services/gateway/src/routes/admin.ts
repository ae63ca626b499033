import { DependencyError, NotFoundError, RequestError } from '@baton/errors';
import { commandWorker } from '@baton/fleet';
import { generationId } from '@baton/protocol';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { parseRequest } from '../api/parse-request.ts';
import type { Gateway } from '../gateway.ts';

/** Body of POST /admin/generations/{id}/migrate. */
export const migrationRequest = z.strictObject({ to: z.string().nullish() });

/** What operators do. Without API keys the gateway offers this on loopback alone. */
export function adminRoutes(app: FastifyInstance, gateway: Gateway): void {
  const { fleet, log } = gateway;

  app.get('/admin/workers', () => ({
    object: 'list',
    data: fleet.workers.map(({ v: _, worker, silentMs, generations, ...status }) => ({
      id: worker,
      ...status,
      silent_ms: Math.round(silentMs),
      generations: generations.map(({ stored, ...generation }) => ({
        ...generation,
        /** Tokens that another worker would have to compute again. */
        snapshot_lag: generation.tokens - stored,
      })),
    })),
  }));

  app.post<{ Params: { id: string } }>('/admin/workers/:id/drain', async (request, reply) => {
    const { id } = request.params;
    if (!fleet.workers.some(({ worker }) => worker === id)) {
      throw new NotFoundError('worker_not_found', `there is no worker ${id}`, 'id');
    }
    const { reason } = await commandWorker(log.connection, id, { v: 1, kind: 'drain' });
    return reply.status(202).send({ id, status: 'draining', detail: reason });
  });

  app.post<{ Params: { id: string } }>('/admin/generations/:id/migrate', async (request, reply) => {
    const { id } = request.params;
    const { to = null } = parseRequest(migrationRequest, request.body ?? {});
    const state = generationId.safeParse(id).success ? await log.read(id) : null;
    if (!state) throw new NotFoundError('response_not_found', `there is no generation ${id}`, 'id');
    if (state.terminal || state.owner === null) {
      const how = state.terminal ? 'has ended' : 'is not running yet';
      throw new RequestError('invalid_value', `generation ${id} ${how}, so it cannot be moved`, 'id');
    }
    const command = { v: 1, kind: 'migrate', generation: id, to } as const;
    const { done, reason } = await commandWorker(log.connection, state.owner, command);
    if (!done) throw new DependencyError('worker', `generation ${id} stays where it is: ${reason}`);
    return reply.status(202).send({ id, status: 'migrating', from: state.owner, detail: reason });
  });
}
