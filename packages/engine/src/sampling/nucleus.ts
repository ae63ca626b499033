import type { Sampling } from '@baton/protocol';
import type { Ranker } from './ranker.ts';

const nats = 32;
const binsOfNat = 64;
const binCount = nats * binsOfNat;

/**
 * Top-p over the whole vocabulary without ranking it: weights are summed by bins of scores, and only two bins are ranked, the
 * one where the nucleus ends and the one where the draw falls.
 *
 * What is drawn is by definition what sums in the order of rank say, to their last bit. Sums of the same n weights, each of
 * which goes through at most m additions, are within 2⁻⁵² m of each other, and so are what they are compared with, which is
 * a part of such a sum. Where less than twice that lies between, there is no answer.
 */
export class Nucleus {
  readonly #ranker: Ranker;
  readonly #weights: Float64Array;
  readonly #bins: Uint16Array;
  readonly #ids: Uint32Array;
  readonly #sums = new Float64Array(binCount);

  /** `weights` is scratch memory, [vocabulary]. */
  constructor(ranker: Ranker, weights: Float64Array) {
    this.#ranker = ranker;
    this.#weights = weights;
    this.#bins = new Uint16Array(weights.length);
    this.#ids = new Uint32Array(weights.length);
  }

  /** The token at `random` (0 … 1) of the nucleus, or null where only sums in the order of rank can tell. */
  draw(
    scores: Float32Array,
    max: number,
    random: number,
    { temperature, top_p, min_p }: Pick<Sampling, 'temperature' | 'top_p' | 'min_p'>,
  ): number | null {
    const total = this.#weigh(scores, max, temperature, min_p);
    const doubt = (scores.length + binCount) * 2 ** -50 * total;
    const end = this.#reach(top_p * total, doubt, scores);
    return end && (this.#reach(random * end.sum, doubt, scores)?.id ?? null);
  }

  /** Sums the weights by bins, the first of which has the highest scores, and gives their total. */
  #weigh(scores: Float32Array, max: number, temperature: number, min_p: number): number {
    const [weights, bins, sums] = [this.#weights, this.#bins, this.#sums];
    sums.fill(0);
    let total = 0;
    for (let id = 0; id < scores.length; id++) {
      // Bins go by scores, not by weights: exponentials may differ from the order of their arguments in the last bit.
      const below = (max - (scores[id] as number)) / temperature;
      const bin = below < nats ? Math.trunc(below * binsOfNat) : binCount - 1;
      const exponential = Math.exp(-below);
      const weight = exponential < min_p ? 0 : exponential;
      weights[id] = weight;
      bins[id] = bin;
      sums[bin] = (sums[bin] as number) + weight;
      total += weight;
    }
    return total;
  }

  /** The first token in the order of rank with which weights sum to more than `wanted`, and their sum. */
  #reach(wanted: number, doubt: number, scores: Float32Array): { id: number; sum: number } | null {
    const sums = this.#sums;
    let sum = 0;
    let bin = 0;
    while (bin < binCount - 1 && sum + (sums[bin] as number) < wanted - doubt) sum += sums[bin++] as number;
    for (const id of this.#ranked(bin, scores)) {
      sum += this.#weights[id] as number;
      if (sum > wanted + doubt) return { id, sum };
      if (sum >= wanted - doubt) return null;
    }
    return null;
  }

  #ranked(bin: number, scores: Float32Array): Uint32Array {
    const [bins, ids] = [this.#bins, this.#ids];
    let length = 0;
    for (let id = 0; id < bins.length; id++) if (bins[id] === bin) ids[length++] = id;
    return this.#ranker.sort(scores, ids.subarray(0, length));
  }
}
