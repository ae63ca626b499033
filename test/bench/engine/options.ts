import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { ConfigurationError } from '@baton/errors';
import { type WeightForm, weightForms } from '@baton/hymba';
import { type ModelName, modelNames } from './models/prepare.ts';

export const parts = ['decode', 'prefill', 'serving', 'interference', 'peers'] as const;
export type Part = (typeof parts)[number];

export interface Options {
  readonly only: readonly Part[];
  readonly models: readonly ModelName[];
  readonly weights: readonly WeightForm[];
  readonly threads: number;
  readonly quick: boolean;
  readonly json: string | null;
  readonly cache: string;
}

export const usage = `npm run bench:engine -- [options]
  --only ${parts.join(',')}   parts to measure (default: all)
  --models ${modelNames.join(',')}      (default: both)
  --weights ${weightForms.join(',')}  (default: all)
  --threads n             threads of the model (default: all cores)
  --quick                 fewer settings and shorter measurements
  --json file             also write everything as JSON
  --cache folder          checkpoints, converted models, peers: about 16 GB (default: .baton/bench)`;

/** Throws `ConfigurationError` for what it does not know. `root` is the project, `from` where relative paths begin. */
export function parseOptions(args: readonly string[], root: string, from: string, cores: number): Options {
  const { values } = parse(args);
  const threads = Number(values.threads ?? cores);
  if (!Number.isInteger(threads) || threads < 1) {
    throw new ConfigurationError(`--threads is ${values.threads}; it must be a whole number from 1`);
  }
  return {
    only: listOf('--only', values.only, parts),
    models: listOf('--models', values.models, modelNames),
    weights: listOf('--weights', values.weights, weightForms),
    threads,
    quick: values.quick,
    json: values.json === undefined ? null : resolve(from, values.json),
    cache: values.cache === undefined ? join(root, '.baton', 'bench') : resolve(from, values.cache),
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        only: { type: 'string' },
        models: { type: 'string' },
        weights: { type: 'string' },
        threads: { type: 'string' },
        quick: { type: 'boolean', default: false },
        json: { type: 'string' },
        cache: { type: 'string' },
      },
    });
  } catch (error) {
    throw new ConfigurationError(`${error instanceof Error ? error.message : error}\n\n${usage}`);
  }
}

function listOf<Name extends string>(
  option: string,
  text: string | undefined,
  names: readonly Name[],
): Name[] {
  if (text === undefined) return [...names];
  return text.split(',').map((word) => {
    const name = names.find((known) => known === word);
    if (name === undefined) {
      throw new ConfigurationError(`${option} does not know "${word}"; it takes ${names.join(', ')}`);
    }
    return name;
  });
}
