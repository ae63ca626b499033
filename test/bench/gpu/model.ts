import { WebGpuRunner } from '@baton/engine/webgpu-runner';
import { type ConvertedModel, linearsGraph, openModel } from '@baton/hymba';
import { prepareModel } from '../engine/models/prepare.ts';
import type { Settings } from './main.ts';

export interface OpenOptions {
  readonly slots: number;
  readonly profile?: string;
}

/** Random weights of the 1.5B's sizes in 4 bits, made where they are not there yet. */
export async function hymba15b({ cache, say }: Settings): Promise<ConvertedModel> {
  const { folder } = await prepareModel('1.5b', 'int4', cache, say);
  return openModel(folder);
}

export function openOnGpu(model: ConvertedModel, options: OpenOptions): Promise<WebGpuRunner> {
  return WebGpuRunner.open(model.folder, options);
}

/**
 * Bytes that a decode step of `batch` sequences at `tokens` tokens cannot do without: the matrices once; for each sequence
 * the scans' states, read and written, and each layer's keys and values, read.
 */
export function stepBytes(model: ConvertedModel, batch: number, tokens: number): number {
  const { config } = model;
  const { kvHeads, keySize, valueSize, layers, innerSize, stateSize, metaTokens, slidingWindow } = config;
  const rows = config.caches.reduce((sum, { kind, layers: readers }) => {
    const held = kind === 'sliding' && slidingWindow !== null ? Math.min(tokens, slidingWindow) : tokens;
    return sum + readers.length * (metaTokens + held);
  }, 0);
  const state = 4 * (rows * kvHeads * (keySize + valueSize) + 2 * layers * innerSize * stateSize);
  return linearsGraph(model).weightBytes + batch * state;
}
