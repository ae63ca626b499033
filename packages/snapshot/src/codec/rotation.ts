import type { StateLayout } from '@baton/engine';
import type { RowRange } from './codec.ts';
import type { KernelMemory } from './kernels.ts';

/** Where cosines and sines, [tokens, key size / 2] each, lie in the kernels' memory. */
export interface Rotation {
  readonly cos: number;
  readonly sin: number;
}

/** The angles by which a model's rotary embedding turns its keys. */
export class Angles {
  readonly #rotation: StateLayout['rotation'];
  readonly #half: number;
  /** Cosine and sine of 0, 1, 2 … tokens' angles; as many as were needed so far. */
  #steps: { readonly cos: Float64Array; readonly sin: Float64Array } = {
    cos: new Float64Array(),
    sin: new Float64Array(),
  };

  constructor({ rotation, keySize }: StateLayout) {
    this.#rotation = rotation;
    this.#half = keySize / 2;
  }

  /** The angles that turn keys back as they were before the model rotated them, or forth; null for a model that does not. */
  put({ first, count }: RowRange, direction: 'back' | 'forth', memory: KernelMemory): Rotation | null {
    if (!this.#rotation) return null;
    const half = this.#half;
    const length = count * half;
    if (this.#steps.cos.length < length) this.#steps = this.#table(0, count);
    const { cos: stepCos, sin: stepSin } = this.#steps;
    const start = this.#table(first + this.#rotation.offset, 1);
    const sign = direction === 'back' ? -1 : 1;
    const [cos, sin] = [memory.take(4 * length), memory.take(4 * length)];
    const [cosines, sines] = [memory.floats(cos, length), memory.floats(sin, length)];
    for (let at = 0; at < length; ) {
      for (let i = 0; i < half; i++, at++) {
        // cos (a + b) = cos a cos b − sin a sin b, sin (a + b) = sin a cos b + cos a sin b
        const [c, s] = [start.cos[i] as number, start.sin[i] as number];
        const [a, b] = [stepCos[at] as number, stepSin[at] as number];
        cosines[at] = c * a - s * b;
        sines[at] = sign * (s * a + c * b);
      }
    }
    return { cos, sin };
  }

  #table(first: number, count: number) {
    const angles = Float64Array.from({ length: count * this.#half }, (_, at) => {
      const token = first + Math.floor(at / this.#half);
      return token * (this.#rotation?.frequencies[at % this.#half] ?? 0);
    });
    return { cos: angles.map(Math.cos), sin: angles.map(Math.sin) };
  }
}
