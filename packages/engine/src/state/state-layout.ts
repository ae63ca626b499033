import type { HymbaConfig } from '@baton/hymba';

/** What a state's parts are, for whoever stores them: sizes are counts of floats. */
export interface StateLayout {
  readonly kvHeads: number;
  /** Widths of a key and of a value of one head. */
  readonly keySize: number;
  readonly valueSize: number;
  /** For each cache how many of the last tokens it holds; null: all. */
  readonly windows: readonly (number | null)[];
  /** Layers with a convolution's and a scan's state. */
  readonly layers: number;
  /** The convolution's state of a layer, [rows, channels]. */
  readonly conv: readonly [number, number];
  /** The scan's state of a layer, [states, channels]. */
  readonly ssm: readonly [number, number];
  /**
   * How keys are rotated before they are cached: element i of a head's first half with element i of its second, by (token +
   * `offset`) × `frequencies`[i] radians. Null: they are not.
   */
  readonly rotation: { readonly offset: number; readonly frequencies: readonly number[] } | null;
}

export function stateLayout(config: HymbaConfig): StateLayout {
  const { kvHeads, keySize, valueSize, slidingWindow, layers, convKernel, innerSize, stateSize } = config;
  return {
    kvHeads,
    keySize,
    valueSize,
    windows: config.caches.map(({ kind }) => (kind === 'sliding' ? slidingWindow : null)),
    layers,
    conv: [convKernel - 1, innerSize],
    ssm: [stateSize, innerSize],
    rotation: {
      offset: config.metaTokens,
      frequencies: Array.from({ length: keySize / 2 }, (_, i) => config.ropeBase ** ((-2 * i) / keySize)),
    },
  };
}
