import type { ModelContext } from '../context.ts';

/** What every part of a WebGPU graph is built from. */
export interface GpuContext extends ModelContext {
  /** One token of each of B sequences; otherwise T tokens of one. */
  readonly decode: boolean;
  /** Width of the residual stream: the hidden size, or the next width that WebGPU's 4-bit product is fast for. */
  readonly width: number;
}

/** Symbolic sizes of inputs and outputs. */
export function gpuSizes({ decode }: Pick<GpuContext, 'decode'>) {
  return decode ? ({ batch: 'B', tokens: 1 } as const) : ({ batch: 1, tokens: 'T' } as const);
}
