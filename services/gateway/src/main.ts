import { hostname } from 'node:os';
import { checkAccess, gatewayStopTimes, inTime, loadEnv } from '@baton/environment';
import { BatonError, ConfigurationError } from '@baton/errors';
import { embeddedModel } from '@baton/hymba';
import { ApiKeys } from '@baton/keys';
import { TokenLog } from '@baton/log';
import { GenerationQueue } from '@baton/queue';
import { awaitSnapshotStore } from '@baton/snapshot';
import { createLogger, startTelemetry } from '@baton/telemetry';
import packageJson from '../package.json' with { type: 'json' };
import { Documents } from './documents.ts';
import { RateLimits } from './limits/rate-limits.ts';
import { loadServedModel } from './served-model.ts';
import { createGatewayServer } from './server.ts';

async function main(): Promise<void> {
  const env = loadEnv(process.env, [
    'BATON_MODEL',
    'BATON_MODEL_NAME',
    'BATON_REDIS_URL',
    'BATON_NATS_URL',
    'BATON_AUTH',
    'BATON_ALLOWED_ORIGINS',
    'BATON_TRUSTED_PROXIES',
    'BATON_HOST',
    'BATON_PORT',
    'BATON_QUEUE_LIMIT',
    'BATON_SOCKET_LIMIT',
    'BATON_CAPTURE_CONTENT',
    'BATON_DISCONNECT_GRACE',
    'BATON_QUEUE_TIMEOUT',
    'BATON_TENANT_GENERATIONS',
    'BATON_TENANT_REQUESTS',
    'BATON_TENANT_TOKENS',
    'BATON_TENANT_STREAMS',
    'BATON_CONVERSATION_QUOTA',
    'BATON_LOG_SHARDS',
    'BATON_LOG_REPLICAS',
    'BATON_LOG_MAX_AGE_HOURS',
    'BATON_SNAPSHOT_STORE',
    'BATON_SNAPSHOT_TTL_HOURS',
    'BATON_SNAPSHOT_QUOTA',
    'BATON_SNAPSHOT_MEMORY',
    'BATON_BODY_LIMIT',
    'BATON_SHUTDOWN_TIMEOUT',
    'BATON_LOG_LEVEL',
  ]);
  checkAccess(env);
  const { BATON_REDIS_URL: redisUrl, BATON_NATS_URL: natsUrl } = env;
  if (redisUrl === undefined || natsUrl === undefined) {
    throw new ConfigurationError('BATON_REDIS_URL and BATON_NATS_URL must be set (npm start sets them)');
  }
  const logger = createLogger('gateway', env.BATON_LOG_LEVEL);
  const telemetry = await startTelemetry(
    {
      service: 'baton-gateway',
      version: packageJson.version,
      instanceId: `${hostname()}-${process.pid}`,
    },
    logger,
  );

  const model = await loadServedModel(env.BATON_MODEL ?? embeddedModel, env.BATON_MODEL_NAME);
  const onError = (error: BatonError) => logger.error({ err: error }, error.message);
  const queue = await GenerationQueue.open(redisUrl, { onError });
  const limits = {
    requestsPerMinute: env.BATON_TENANT_REQUESTS ?? null,
    tokensPerMinute: env.BATON_TENANT_TOKENS ?? null,
  };
  const limited = Object.values(limits).some((limit) => limit !== null);
  const rateLimits = limited ? await RateLimits.open(redisUrl, limits, { onError }) : null;
  const keys = env.BATON_AUTH === 'keys' ? await ApiKeys.open(redisUrl, { onError }) : null;
  const log = await TokenLog.open(natsUrl, {
    shards: env.BATON_LOG_SHARDS,
    replicas: env.BATON_LOG_REPLICAS,
    maxAgeMs: env.BATON_LOG_MAX_AGE_HOURS * 3_600_000,
  });
  const documents = await Documents.open(redisUrl, {
    ttlMs: env.BATON_LOG_MAX_AGE_HOURS * 3_600_000,
    onError: (error) => logger.error({ err: error }, error.message),
  });
  const snapshotLimits = {
    ttlSeconds: env.BATON_SNAPSHOT_TTL_HOURS * 3600,
    quotaBytes: env.BATON_SNAPSHOT_QUOTA * 2 ** 20,
    totalBytes: env.BATON_SNAPSHOT_MEMORY * 2 ** 20,
  };
  const snapshots = await awaitSnapshotStore(env.BATON_SNAPSHOT_STORE ?? redisUrl, snapshotLimits, {
    onState: (outage) => {
      if (outage === null) logger.info('the snapshot store answers');
      else logger.warn({ err: outage }, 'the snapshot store does not answer; states cannot be deleted');
    },
  });
  const server = await createGatewayServer({
    model,
    log,
    queue,
    documents,
    snapshots,
    keys,
    rateLimits,
    metricsPage: telemetry.metricsPage,
    logger,
    settings: {
      queueLimit: env.BATON_QUEUE_LIMIT,
      socketLimit: env.BATON_SOCKET_LIMIT,
      captureContent: env.BATON_CAPTURE_CONTENT === 'true',
      disconnectGraceMs: env.BATON_DISCONNECT_GRACE * 1000,
      queueTimeoutMs: env.BATON_QUEUE_TIMEOUT * 1000,
      tenantGenerations: env.BATON_TENANT_GENERATIONS,
      conversationQuotaBytes: env.BATON_CONVERSATION_QUOTA * 2 ** 20,
      tenantStreams: env.BATON_TENANT_STREAMS,
      bodyLimit: env.BATON_BODY_LIMIT,
      allowedOrigins: env.BATON_ALLOWED_ORIGINS ?? [],
      trustedProxies: env.BATON_TRUSTED_PROXIES ?? [],
    },
  });

  const close = async (): Promise<void> => {
    await server.stop(env.BATON_SHUTDOWN_TIMEOUT * 1000);
    documents.close();
    await Promise.allSettled([
      queue.close(),
      log.close(),
      snapshots.close(),
      keys?.close(),
      rateLimits?.close(),
    ]);
  };
  let stopping = false;
  const stop = async (reason: string): Promise<void> => {
    if (stopping) return;
    stopping = true;
    logger.info({ reason }, 'stopping');
    const { workMs, telemetryMs } = gatewayStopTimes(env);
    if (!(await inTime(close(), workMs))) logger.warn('not all could be closed in time');
    await telemetry.shutdown(telemetryMs);
    process.exit();
  };
  process.once('SIGTERM', () => void stop('SIGTERM'));
  process.once('SIGINT', () => void stop('SIGINT'));
  // Whoever started this process is gone, and nobody would stop it any more.
  process.once('disconnect', () => void stop('parent process is gone'));

  const url = await listen(server.app, env.BATON_HOST, env.BATON_PORT);
  logger.info(
    { url, model: model.name, contextLength: model.contextLength },
    keys
      ? 'ready; clients need API keys'
      : 'ready; listens on loopback only, since it asks for no API keys (BATON_AUTH=none)',
  );
  process.send?.('ready');
}

async function listen(
  app: Awaited<ReturnType<typeof createGatewayServer>>['app'],
  host: string,
  port: number,
): Promise<string> {
  try {
    return await app.listen({ host, port });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EADDRINUSE') {
      throw new ConfigurationError(`BATON_PORT=${port} is taken on ${host}; set another one`);
    }
    throw new ConfigurationError(`BATON_HOST=${host} BATON_PORT=${port} cannot be listened on: ${code}`);
  }
}

try {
  await main();
} catch (error) {
  const message = error instanceof BatonError ? error.message : error instanceof Error ? error.stack : error;
  process.stderr.write(`${message}\n`);
  process.exit(1);
}
