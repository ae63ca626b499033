import type { FastifyInstance } from 'fastify';
import { openApiDocument } from '../openapi.ts';

export function openApiRoutes(app: FastifyInstance): void {
  const document = openApiDocument();
  app.get('/openapi.json', () => document);
}
