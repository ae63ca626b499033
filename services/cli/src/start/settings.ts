import { availableParallelism, hostname } from 'node:os';
import { basename, resolve } from 'node:path';
import { checkAccess, type Environment, loadEnv, type VariableName, variables } from '@baton/environment';
import { embeddedModel } from '@baton/hymba';

const allVariables = Object.keys(variables) as VariableName[];

/** The project's folder. */
export const root = resolve(import.meta.dirname, '../../../..');

export interface StartSettings {
  readonly env: Environment<VariableName>;
  readonly dataDir: string;
  readonly modelDir: string;
  readonly modelName: string;
  readonly workerIds: readonly string[];
  readonly threadsPerWorker: number;
}

/** Reads every setting, those of the gateway and the workers too, so that a wrong one is reported before anything starts. */
export function readSettings(source: NodeJS.ProcessEnv): StartSettings {
  const env = loadEnv(source, allVariables);
  checkAccess(env);
  const modelDir = resolve(env.BATON_MODEL ?? embeddedModel);
  const ownServers = env.BATON_REDIS_URL === undefined && env.BATON_NATS_URL === undefined;
  // Servers that are shared with other machines may see their workers too.
  const prefix = env.BATON_WORKER_ID ?? (ownServers ? 'worker' : nameOf(hostname()));
  return {
    env,
    dataDir: resolve(env.BATON_DATA_DIR),
    modelDir,
    modelName: env.BATON_MODEL_NAME ?? basename(modelDir),
    workerIds: Array.from({ length: env.BATON_WORKERS }, (_, i) => `${prefix}-${i + 1}`),
    threadsPerWorker:
      env.BATON_THREADS ?? Math.max(1, Math.floor(availableParallelism() / env.BATON_WORKERS)),
  };
}

/** A host name as a worker id may contain it, with room for a number. */
function nameOf(host: string): string {
  return host.replaceAll(/[^\w.-]/g, '-').slice(0, 60);
}
