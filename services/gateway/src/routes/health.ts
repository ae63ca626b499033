import { setTimeout as delay } from 'node:timers/promises';
import type { FastifyInstance } from 'fastify';
import type { Gateway } from '../gateway.ts';

/** A dependency that takes longer than this to answer is not there. */
const patienceMs = 1000;

export function healthRoutes(app: FastifyInstance, gateway: Gateway): void {
  /** The process is alive. */
  app.get('/healthz', () => ({ status: 'ok' }));

  /** This gateway can accept requests: it has its model, and its servers answer. Workers may still be on their way. */
  app.get('/readyz', async (_request, reply) => {
    const [redis, nats] = await Promise.all([
      answers(gateway.queue.counts()),
      answers(gateway.log.connection.rtt()),
    ]);
    const missing = [...(redis ? [] : ['redis']), ...(nats ? [] : ['nats'])];
    const status = missing.length === 0 ? 'ready' : 'unavailable';
    return reply.status(status === 'ready' ? 200 : 503).send({ status, missing, model: gateway.model.name });
  });
}

async function answers(request: Promise<unknown>): Promise<boolean> {
  const patience = new AbortController();
  const answered = request.then(
    () => true,
    () => false,
  );
  const tired = delay(patienceMs, false, { signal: patience.signal }).catch(() => false);
  try {
    return await Promise.race([answered, tired]);
  } finally {
    patience.abort();
  }
}
