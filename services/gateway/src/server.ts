import type { IncomingMessage } from 'node:http';
import { tidyUpMs } from '@baton/environment';
import { OverloadedError } from '@baton/errors';
import { FleetWatch } from '@baton/fleet';
import type { ApiKeys } from '@baton/keys';
import type { TokenLog } from '@baton/log';
import { newRequestId } from '@baton/protocol';
import type { GenerationQueue } from '@baton/queue';
import type { SnapshotStore } from '@baton/snapshot';
import cors from '@fastify/cors';
import helmet from '@fastify/helmet';
import websocket from '@fastify/websocket';
import {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  fastify,
  LogController,
} from 'fastify';
import { GrammarChecks } from './api/grammar-checks.ts';
import { refuseTooDeep } from './api/nesting.ts';
import { requireScope } from './auth/access.ts';
import { checkHost, checkOrigin } from './auth/origins.ts';
import type { Documents } from './documents.ts';
import { answerBrokenRequest, asBatonError, errorBody, installErrorHandling, noteRefusal } from './errors.ts';
import { defaultGatewaySettings, type Gateway, type GatewaySettings } from './gateway.ts';
import { startSweeping } from './generation/reconcile.ts';
import { Tokenisation } from './generation/tokenisation.ts';
import type { RateLimits } from './limits/rate-limits.ts';
import { StreamPlaces } from './limits/stream-places.ts';
import { observeGateway } from './record.ts';
import { adminRoutes } from './routes/admin.ts';
import { chatCompletionRoutes } from './routes/chat-completions.ts';
import { completionRoutes } from './routes/completions.ts';
import { conversationRoutes } from './routes/conversations.ts';
import { healthRoutes } from './routes/health.ts';
import { metricsRoutes } from './routes/metrics.ts';
import { modelRoutes } from './routes/models.ts';
import { openApiRoutes } from './routes/openapi.ts';
import { responseRoutes } from './routes/responses.ts';
import { RunningTasks } from './running-tasks.ts';
import type { ServedModel } from './served-model.ts';
import { chooseSubprotocol } from './ws/subprotocol.ts';

/** Nothing that this server answers is a page. */
const apiContentPolicy = { defaultSrc: ["'none'"], frameAncestors: ["'none'"] };

/** Headers that pages may read, beside those that every page may. */
const exposedHeaders = [
  'x-request-id',
  'retry-after',
  'retry-after-ms',
  ...['limit', 'remaining', 'reset'].flatMap((what) =>
    ['requests', 'tokens'].map((unit) => `x-ratelimit-${what}-${unit}`),
  ),
];

export interface GatewayServerOptions {
  readonly model: ServedModel;
  readonly log: TokenLog;
  readonly queue: GenerationQueue;
  readonly documents: Documents;
  readonly snapshots?: SnapshotStore;
  /** Null or missing: anybody may use it. */
  readonly keys?: ApiKeys | null;
  /** Null or missing: a tenant may ask as often as it likes. */
  readonly rateLimits?: RateLimits | null;
  /** For Prometheus; null or missing: metrics are off. */
  readonly metricsPage?: (() => Promise<string>) | null;
  readonly settings?: Partial<GatewaySettings>;
  readonly logger?: FastifyBaseLogger;
}

export interface GatewayServer {
  readonly app: FastifyInstance;
  /**
   * Takes no more requests, sends WebSockets elsewhere (close code 1012), waits for streams and gives them up after
   * `timeoutMs`. The log and the queue stay open.
   */
  stop(timeoutMs: number): Promise<void>;
}

/** The gateway's HTTP and WebSocket server, not listening yet. */
export async function createGatewayServer(options: GatewayServerOptions): Promise<GatewayServer> {
  const settings = { ...defaultGatewaySettings, ...options.settings };
  const app = fastify({
    ...(options.logger && { loggerInstance: options.logger }),
    bodyLimit: settings.bodyLimit,
    requestTimeout: settings.requestTimeoutMs,
    // Node would otherwise look every 30 seconds only.
    http: {
      headersTimeout: settings.requestTimeoutMs,
      connectionsCheckingInterval: settings.requestTimeoutMs,
      // Finds a peer that is gone without a word, on a stream that has nothing to send.
      keepAlive: true,
      keepAliveInitialDelay: settings.keepAliveMs,
    },
    clientErrorHandler: answerBrokenRequest,
    trustProxy: settings.trustedProxies.length > 0 ? [...settings.trustedProxies] : false,
    exposeHeadRoutes: false,
    // Ids are ours, so that they are unique.
    requestIdHeader: false,
    genReqId: () => newRequestId(),
    routerOptions: { ignoreTrailingSlash: true },
    // Traces tell what each request did; the log is for what went wrong.
    logController: new LogController({ disableRequestLogging: true }),
    frameworkErrors: (thrown, request, reply) => {
      const error = asBatonError(thrown);
      noteRefusal(error, request);
      (reply as FastifyReply).header('x-request-id', request.id).status(400).send(errorBody(error));
    },
  });
  const stopping = new AbortController();
  const { model, log, queue, documents, keys = null } = options;
  /** An upgrade is not answered by Fastify's reply. */
  const requestIds = new WeakMap<IncomingMessage, string>();
  const tasks = new RunningTasks();
  const grammars = new GrammarChecks();
  const tokenisation = new Tokenisation(model.tokenizer);
  const fleet = new FleetWatch(log.connection, {
    onLost: ({ worker, silentMs }) => {
      queue.takeBack(worker).then(
        (generations) => {
          if (generations.length === 0) return;
          app.log.warn(
            { worker, silentMs: Math.round(silentMs), generations },
            'took back what a silent worker was running',
          );
        },
        (error: unknown) =>
          app.log.warn({ err: error, worker }, 'cannot take back what a silent worker was running'),
      );
    },
    onError: (error) => app.log.warn({ err: error }, 'a heartbeat is not understood'),
  });
  const gateway: Gateway = {
    model,
    grammars,
    tokenisation,
    log,
    queue,
    documents,
    fleet,
    rateLimits: options.rateLimits ?? null,
    snapshots: options.snapshots ?? null,
    streams: new StreamPlaces(settings.socketLimit, settings.tenantStreams),
    settings,
    logger: app.log,
    tasks,
    stopping: stopping.signal,
  };

  const stopSweeping = await startSweeping(gateway);

  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id);
    requestIds.set(request.raw, request.id);
  });
  app.addHook('preValidation', async (request) => refuseTooDeep(request.body, 'the body'));
  app.addHook('onClose', observeGateway({ queue, fleet, sockets: () => app.websocketServer.clients }));
  app.decorateRequest('access', null);
  app.removeContentTypeParser('text/plain');
  installErrorHandling(app);
  await app.register(websocket, {
    // A frame is a few words: to compress it costs more than it saves, and memory for each socket.
    options: {
      maxPayload: settings.bodyLimit,
      handleProtocols: chooseSubprotocol,
      perMessageDeflate: false,
    },
    preClose: (done) => {
      for (const client of app.websocketServer.clients) client.close(1012, 'restarting');
      done();
    },
  });
  app.websocketServer.on('headers', (headers, request) => {
    headers.push(`x-request-id: ${requestIds.get(request)}`);
  });
  // After the WebSocket plugin, which ends the connection of an upgrade that is refused.
  app.addHook('onRequest', checkOrigin(settings.allowedOrigins));
  if (keys === null) app.addHook('onRequest', checkHost(settings.allowedOrigins));
  await app.register(helmet, { contentSecurityPolicy: { directives: apiContentPolicy } });
  await app.register(cors, {
    origin: [...settings.allowedOrigins],
    methods: ['GET', 'POST', 'DELETE'],
    exposedHeaders: [...exposedHeaders],
    maxAge: 600,
  });
  healthRoutes(app, gateway);
  openApiRoutes(app);
  await app.register(async (routes) => {
    routes.addHook('onRequest', requireScope(keys, 'inference'));
    modelRoutes(routes, gateway);
    chatCompletionRoutes(routes, gateway);
    completionRoutes(routes, gateway);
    responseRoutes(routes, gateway);
    conversationRoutes(routes, gateway);
  });
  await app.register(async (routes) => {
    routes.addHook('onRequest', requireScope(keys, 'admin'));
    adminRoutes(routes, gateway);
    metricsRoutes(routes, options.metricsPage ?? null);
  });

  return {
    app,
    async stop(timeoutMs) {
      const deadline = setTimeout(() => {
        stopping.abort(new OverloadedError('overloaded', 'this server is stopping; try again', 1000));
        for (const client of app.websocketServer.clients) client.terminate();
      }, timeoutMs);
      // A connection that carried a stream when the server stopped stays open, idle, after it.
      const idle = setInterval(() => app.server.closeIdleConnections(), 50);
      await app.close();
      clearTimeout(deadline);
      clearInterval(idle);
      await stopSweeping();
      await tasks.settle(settings.disconnectGraceMs + tidyUpMs);
      fleet.close();
      await Promise.all([grammars.close(), tokenisation.close()]);
    },
  };
}
