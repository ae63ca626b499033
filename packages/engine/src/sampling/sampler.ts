import { RequestError } from '@baton/errors';
import type { GrammarMatcher, TokenMask } from '@baton/grammar';
import type { Sampling } from '@baton/protocol';
import { highest } from './logprobs.ts';
import { Nucleus } from './nucleus.ts';
import { uniform } from './philox.ts';
import { Ranker } from './ranker.ts';

/** What a sampler must know of the sequence it samples for. */
export interface SamplerContext {
  readonly prompt: readonly number[];
  readonly vocabularySize: number;
  readonly eosTokenIds: readonly number[];
  /** What the output has to be, at its beginning. */
  readonly grammar?: GrammarMatcher | null;
}

/**
 * Chooses output tokens. The random number for an output position depends on seed and position alone, so a sampler that
 * accepted the same tokens, in whatever process, goes on to choose the same ones.
 *
 * In order: logit bias; repetition penalty (CTRL, arXiv 1909.05858) over prompt and output; frequency and presence
 * penalties over the output; what the grammar forbids; no end of sequence before `min_tokens`, unless the grammar allows nothing
 * else; temperature; min-p (arXiv 2407.01082); top-k; top-p
 * (arXiv 1904.09751) of what is left.
 */
export class Sampler {
  readonly #sampling: Sampling;
  readonly #eosTokenIds: readonly number[];
  readonly #grammar: GrammarMatcher | null;
  readonly #bias: readonly (readonly [id: number, bias: number])[];
  readonly #promptTokens: ReadonlySet<number>;
  readonly #outputCounts = new Map<number, number>();
  readonly #ranker: Ranker;
  readonly #scores: Float32Array;
  readonly #weights: Float64Array;
  readonly #nucleus: Nucleus | null;
  #position = 0;

  /** Throws `RequestError` for a logit bias on a token that the model does not have. */
  constructor(sampling: Sampling, { prompt, vocabularySize, eosTokenIds, grammar = null }: SamplerContext) {
    this.#sampling = sampling;
    this.#eosTokenIds = eosTokenIds;
    this.#grammar = grammar;
    this.#bias = Object.entries(sampling.logit_bias).map(([id, bias]) => [Number(id), bias]);
    for (const [id] of this.#bias) {
      if (id >= vocabularySize) {
        throw new RequestError(
          'invalid_value',
          `logit_bias names token ${id}; this model's tokens are 0 to ${vocabularySize - 1}`,
          'logit_bias',
        );
      }
    }
    this.#promptTokens = new Set(sampling.repetition_penalty === 1 ? [] : prompt);
    this.#ranker = new Ranker(vocabularySize);
    this.#scores = new Float32Array(vocabularySize);
    const { temperature, top_k, top_p } = sampling;
    this.#weights = new Float64Array(temperature === 0 ? 0 : vocabularySize);
    this.#nucleus =
      temperature > 0 && top_k === 0 && top_p < 1 ? new Nucleus(this.#ranker, this.#weights) : null;
  }

  /** Takes a token, sampled or replayed, as the output's next one. Throws `ServerError` for one that the grammar forbids. */
  accept(token: number): void {
    if (!this.#eosTokenIds.includes(token)) this.#grammar?.accept(token);
    this.#outputCounts.set(token, (this.#outputCounts.get(token) ?? 0) + 1);
    this.#position++;
  }

  /** The token for the next position, from its raw logits [vocabulary]. Throws `ServerError` for NaN and infinities. */
  sample(logits: Float32Array): number {
    highest(logits);
    this.#scores.set(logits);
    this.#adjust(this.#scores);
    if (this.#sampling.temperature === 0) return this.#ranker.top(this.#scores, 1)[0] as number;
    return this.#draw(this.#scores);
  }

  #adjust(scores: Float32Array): void {
    const { repetition_penalty, presence_penalty, frequency_penalty, min_tokens } = this.#sampling;
    for (const [id, bias] of this.#bias) scores[id] = (scores[id] as number) + bias;
    if (repetition_penalty !== 1) {
      const repel = (id: number) => {
        const score = scores[id] as number;
        const repelled = score > 0 ? score / repetition_penalty : score * repetition_penalty;
        scores[id] = Math.min(repelled, largestFloat32);
      };
      for (const id of this.#promptTokens) repel(id);
      for (const id of this.#outputCounts.keys()) if (!this.#promptTokens.has(id)) repel(id);
    }
    if (presence_penalty !== 0 || frequency_penalty !== 0) {
      for (const [id, count] of this.#outputCounts) {
        scores[id] = (scores[id] as number) - presence_penalty - count * frequency_penalty;
      }
    }
    const mask = this.#grammar?.mask;
    if (mask) forbid(scores, mask);
    if (this.#position < min_tokens && !mask?.onlyEnd) {
      for (const id of this.#eosTokenIds) scores[id] = Number.NEGATIVE_INFINITY;
    }
  }

  /** Inverse transform sampling over the tokens that min-p, top-k and top-p leave. */
  #draw(scores: Float32Array): number {
    const { temperature, top_k, top_p, min_p, seed } = this.#sampling;
    const weights = this.#weights;
    const max = maximum(scores);
    const random = uniform(seed, this.#position);
    const drawn = this.#nucleus?.draw(scores, max, random, this.#sampling) ?? null;
    if (drawn !== null) return drawn;
    const ranked =
      top_k > 0 || top_p < 1
        ? this.#ranker.top(scores, Math.min(top_k || scores.length, scores.length))
        : null;
    const idAt = (index: number) => (ranked ? (ranked[index] as number) : index);
    let count = ranked?.length ?? scores.length;
    let total = 0;
    for (let index = 0; index < count; index++) {
      const weight = Math.exp(((scores[idAt(index)] as number) - max) / temperature);
      weights[index] = weight < min_p ? 0 : weight;
      total += weights[index] as number;
    }
    if (top_p < 1) {
      const enough = top_p * total;
      total = 0;
      for (let index = 0; index < count; index++) {
        total += weights[index] as number;
        if (total >= enough) count = index + 1;
      }
    }
    const target = random * total;
    let sum = 0;
    let chosen = 0;
    for (let index = 0; index < count; index++) {
      if (weights[index] === 0) continue;
      chosen = idAt(index);
      sum += weights[index] as number;
      if (sum > target) break;
    }
    return chosen;
  }
}

function maximum(values: Float32Array): number {
  let max = Number.NEGATIVE_INFINITY;
  for (let id = 0; id < values.length; id++) if ((values[id] as number) > max) max = values[id] as number;
  return max;
}

/** Leaves only the tokens of `mask` a chance. */
function forbid(scores: Float32Array, { bits }: TokenMask): void {
  for (let word = 0; word < bits.length; word++) {
    let forbidden = ~(bits[word] as number);
    while (forbidden !== 0) {
      const bit = 31 - Math.clz32(forbidden & -forbidden);
      // Past the last token this sets nothing.
      scores[word * 32 + bit] = Number.NEGATIVE_INFINITY;
      forbidden &= forbidden - 1;
    }
  }
}

const largestFloat32 = 2 ** 128 - 2 ** 104;
