import type { FastifyInstance } from 'fastify';
import type { Gateway } from '../gateway.ts';
import { requireModel } from '../generation/prompt.ts';
import { traced } from './traced.ts';

export function modelRoutes(app: FastifyInstance, gateway: Gateway): void {
  const { model } = gateway;
  const object = { id: model.name, object: 'model', created: model.created, owned_by: 'baton' };

  app.get(
    '/v1/models',
    traced(gateway, async () => ({ object: 'list', data: [object] })),
  );

  app.get<{ Params: { id: string } }>('/v1/models/:id', (request) => {
    requireModel(request.params.id, model);
    return object;
  });
}
