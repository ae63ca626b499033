import { availableParallelism, hostname } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { createEngine } from '@baton/engine';
import { inTime, loadEnv, workerStopTimes } from '@baton/environment';
import { BatonError, ConfigurationError } from '@baton/errors';
import { embeddedModel, ensureConverted } from '@baton/hymba';
import { createLogger, startTelemetry } from '@baton/telemetry';
import packageJson from '../package.json' with { type: 'json' };
import { stepRecorder } from './record.ts';
import { Worker } from './worker.ts';

async function main(): Promise<void> {
  const env = loadEnv(process.env, [
    'BATON_MODEL',
    'BATON_MODEL_NAME',
    'BATON_WEIGHTS',
    'BATON_KV_CACHE',
    'BATON_DATA_DIR',
    'BATON_REDIS_URL',
    'BATON_NATS_URL',
    'BATON_WORKER_ID',
    'BATON_THREADS',
    'BATON_DEVICE',
    'BATON_SLOTS',
    'BATON_PREFILL_CHUNK',
    'BATON_STEP_TOKENS',
    'BATON_STATE_MEMORY',
    'BATON_SNAPSHOT_STORE',
    'BATON_SNAPSHOT_KEYS',
    'BATON_SNAPSHOT_CODEC',
    'BATON_SNAPSHOT_TOKENS',
    'BATON_SNAPSHOT_TTL_HOURS',
    'BATON_SNAPSHOT_MEMORY',
    'BATON_SNAPSHOT_QUOTA',
    'BATON_WARM_MEMORY',
    'BATON_MAX_CLAIMS',
    'BATON_LOG_SHARDS',
    'BATON_LOG_REPLICAS',
    'BATON_LOG_MAX_AGE_HOURS',
    'BATON_DRAIN_TIMEOUT',
    'BATON_LOG_LEVEL',
  ]);
  const { BATON_REDIS_URL: redisUrl, BATON_NATS_URL: natsUrl } = env;
  if (redisUrl === undefined || natsUrl === undefined) {
    throw new ConfigurationError('BATON_REDIS_URL and BATON_NATS_URL must be set (npm start sets them)');
  }
  const workerId = env.BATON_WORKER_ID ?? `${hostname()}-${process.pid}`;
  const logger = createLogger('worker', env.BATON_LOG_LEVEL).child({ worker: workerId });
  const telemetry = await startTelemetry(
    {
      service: 'baton-worker',
      version: packageJson.version,
      instanceId: workerId,
    },
    logger,
  );

  const model = await ensureConverted(env.BATON_MODEL ?? embeddedModel, join(env.BATON_DATA_DIR, 'models'), {
    weights: env.BATON_WEIGHTS,
    kvCache: env.BATON_KV_CACHE,
  });
  let stateBytes = 0;
  const recordStep = stepRecorder();
  const engine = await createEngine(
    {
      modelDir: model.folder,
      threads: env.BATON_THREADS ?? availableParallelism(),
      device: env.BATON_DEVICE,
      slots: env.BATON_SLOTS,
      prefillChunk: env.BATON_PREFILL_CHUNK,
      stepTokens: env.BATON_STEP_TOKENS,
      stateMemory: env.BATON_STATE_MEMORY && env.BATON_STATE_MEMORY * 2 ** 20,
    },
    (stage) => logger.info({ model: model.folder }, `model: ${stage}`),
    (report) => {
      stateBytes = report.stateBytes;
      recordStep(report);
    },
  );
  let stopping = false;
  const stop = async (reason: string, exitCode: number): Promise<void> => {
    if (stopping) return;
    stopping = true;
    logger.info({ reason, running: worker.active }, 'draining');
    const { workMs, telemetryMs } = workerStopTimes(env);
    if (!(await inTime(worker.stop(), workMs))) logger.warn('not all could be closed in time');
    await telemetry.shutdown(telemetryMs);
    process.exit(exitCode);
  };
  const worker = await Worker.start(engine, {
    workerId,
    redisUrl,
    natsUrl,
    modelName: env.BATON_MODEL_NAME ?? basename(resolve(env.BATON_MODEL ?? embeddedModel)),
    log: {
      shards: env.BATON_LOG_SHARDS,
      replicas: env.BATON_LOG_REPLICAS,
      maxAgeMs: env.BATON_LOG_MAX_AGE_HOURS * 3_600_000,
    },
    snapshots: {
      storeUrl: env.BATON_SNAPSHOT_STORE ?? redisUrl,
      limits: {
        ttlSeconds: env.BATON_SNAPSHOT_TTL_HOURS * 3600,
        quotaBytes: env.BATON_SNAPSHOT_QUOTA * 2 ** 20,
        totalBytes: env.BATON_SNAPSHOT_MEMORY * 2 ** 20,
      },
      tier: env.BATON_SNAPSHOT_CODEC,
      ...(env.BATON_SNAPSHOT_KEYS && { keys: env.BATON_SNAPSHOT_KEYS }),
    },
    snapshotTokens: env.BATON_SNAPSHOT_TOKENS,
    warmBytes: env.BATON_WARM_MEMORY * 2 ** 20,
    maxClaims: env.BATON_MAX_CLAIMS,
    stateBytes: () => stateBytes,
    drainMs: env.BATON_DRAIN_TIMEOUT * 1000,
    logger,
    onDrained: () => void stop('told to drain', 0),
  });
  process.once('SIGTERM', () => void stop('SIGTERM', 0));
  process.once('SIGINT', () => void stop('SIGINT', 0));
  // Whoever started this process is gone, and nobody would stop it any more.
  process.once('disconnect', () => void stop('parent process is gone', 0));
  // Its generations were handed back; whoever keeps this process running starts it again.
  void engine.died.then((death) => {
    if (!stopping) logger.error({ err: death }, death.message);
    return stop(death.message, 1);
  });

  const { fingerprint } = engine.model;
  logger.info({ model: model.folder, fingerprint, capacity: engine.capacity }, 'ready');
  process.send?.('ready');
}

try {
  await main();
} catch (error) {
  const message = error instanceof BatonError ? error.message : error instanceof Error ? error.stack : error;
  process.stderr.write(`${message}\n`);
  process.exit(1);
}
