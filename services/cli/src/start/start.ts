import { mkdirSync, rmSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import { join } from 'node:path';
import { allocatorEnv } from '@baton/engine/allocator-env';
import { gatewayStopTimes, workerStopTimes } from '@baton/environment';
import { rememberServers } from '../running-servers.ts';
import { convertModel } from './convert-model.ts';
import { Fleet } from './fleet.ts';
import { freePort } from './free-port.ts';
import type { Launch } from './keep-running.ts';
import { provideServer } from './provide-server.ts';
import { startService } from './service-process.ts';
import { readSettings, root } from './settings.ts';
import { listenForStop, type StopRequest, unlessAborted } from './stop-request.ts';
import { tryIt } from './try-it.ts';
import { waitUntilReady } from './wait-until-ready.ts';

type Say = (line: string) => void;

/**
 * Runs the whole system on this machine until it is asked to stop, then stops it in order: gateway, workers, NATS,
 * Redis. What ends by itself meanwhile is started again. Throws `ConfigurationError`, `DependencyError`,
 * `CheckpointError` or `ServerError` when the system does not come up; nothing is left running then either.
 */
export async function start(source: NodeJS.ProcessEnv, say: Say): Promise<void> {
  const stop = listenForStop();
  const fleet = new Fleet(say);
  try {
    await bringUp(source, stop, fleet, say);
    await unlessAborted(new Promise(() => {}), stop.requested);
  } catch (error) {
    if (!stop.requested.aborted) throw error;
    say(`Stopping (${stop.requested.reason}) …`);
  } finally {
    await fleet.stop();
  }
  say('Stopped.');
}

/** Starts everything and returns once it is ready; throws the reason of `stop` when that comes first. */
async function bringUp(source: NodeJS.ProcessEnv, stop: StopRequest, fleet: Fleet, say: Say): Promise<void> {
  const { env, dataDir, modelDir, modelName, workerIds, threadsPerWorker } = readSettings(source);
  const port = await freePort(env.BATON_HOST, env.BATON_PORT);

  const redisDir = join(dataDir, 'redis');
  const redisUrl = await provideServer('redis-server', env.BATON_REDIS_URL, redisDir, fleet, say);
  stop.requested.throwIfAborted();
  const natsDir = join(dataDir, 'nats');
  const natsUrl = await provideServer('nats-server', env.BATON_NATS_URL, natsDir, fleet, say);
  stop.requested.throwIfAborted();
  const converted = {
    cacheDir: join(dataDir, 'models'),
    weights: env.BATON_WEIGHTS,
    kvCache: env.BATON_KV_CACHE,
  };
  const model = await unlessAborted(convertModel(modelDir, converted, say), stop.requested);

  rememberServers(dataDir, { redisUrl, natsUrl });
  const logs = join(dataDir, 'logs');
  // Logs are those of one run; a process that is started again appends to its own.
  rmSync(logs, { recursive: true, force: true });
  mkdirSync(logs, { recursive: true });
  const commonEnv = {
    ...source,
    BATON_REDIS_URL: redisUrl,
    BATON_NATS_URL: natsUrl,
    BATON_MODEL: model,
    BATON_MODEL_NAME: modelName,
    BATON_DATA_DIR: dataDir,
  };
  const service =
    (kind: 'gateway' | 'worker', name: string, ownEnv: NodeJS.ProcessEnv): Launch =>
    async () =>
      startService({
        main: join(root, `services/${kind}/src/main.ts`),
        env: { ...(kind === 'worker' && allocatorEnv), ...commonEnv, ...ownEnv },
        logFile: join(logs, `${name}.log`),
        stopTimeoutMs: stopTimeoutMs(kind, env),
        hurried: stop.hurried,
      });

  say(`Starting the gateway and workers (${workerIds.length}); logs are in ${logs}`);
  // The gateway's page for Prometheus is on this port, those of the workers on the ones after it.
  const metricsPort = Number(source['OTEL_EXPORTER_PROMETHEUS_PORT'] || 9464);
  const workers = workerIds.map((id, index) => {
    const ownEnv = {
      BATON_WORKER_ID: id,
      BATON_THREADS: String(threadsPerWorker),
      OTEL_EXPORTER_PROMETHEUS_PORT: String(metricsPort + index + 1),
    };
    return [id, service('worker', id, ownEnv)] as const;
  });
  await fleet.launch(Object.fromEntries(workers));
  const address = { BATON_HOST: env.BATON_HOST, BATON_PORT: String(port) };
  await fleet.launch({ gateway: service('gateway', 'gateway', address) });

  const baseUrl = `http://${reachableAt(env.BATON_HOST)}:${port}`;
  await unlessAborted(fleet.untilReady(), stop.requested);
  await waitUntilReady(baseUrl, stop.requested, say);
  if (env.BATON_AUTH === 'keys') {
    say(
      `\nBaton is ready: ${baseUrl} serves ${modelName} to whoever has a key. Ctrl-C stops it. This makes a key, in ${root}:`,
    );
    // One that was given may hold a password, and the command finds it as this one did.
    const redis = env.BATON_REDIS_URL === undefined ? ` --redis ${redisUrl}` : '';
    say(`\n  npm run baton -- keys create${redis}`);
    return;
  }
  say(
    `\nBaton is ready: ${baseUrl} serves ${modelName}. Ctrl-C stops it. Try, in another terminal, in ${root}:`,
  );
  for (const command of tryIt(baseUrl, modelName)) say(`\n  ${command}`);
}

/** A service keeps its own bound, so that it can send its last telemetry; what is added is for one that hangs. */
export function stopTimeoutMs(
  kind: 'gateway' | 'worker',
  env: Parameters<typeof gatewayStopTimes>[0] & Parameters<typeof workerStopTimes>[0],
): number {
  const { workMs, telemetryMs } = kind === 'gateway' ? gatewayStopTimes(env) : workerStopTimes(env);
  return workMs + telemetryMs + 1000;
}

/** The address under which this machine reaches a server that listens on `host`. */
function reachableAt(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  if (host === '::') return '[::1]';
  return isIPv6(host) ? `[${host}]` : host;
}
