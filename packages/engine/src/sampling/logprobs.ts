import { ServerError } from '@baton/errors';
import type { TokenLogprob } from '@baton/protocol';
import type { Ranker } from './ranker.ts';

/**
 * Log-probability of `token`, and of the `alternatives` most likely tokens, under the model's own distribution: the
 * log-softmax of the raw logits, before temperature, penalties and bias (what OpenAI's API reports).
 */
export function tokenLogprob(
  logits: Float32Array,
  token: number,
  alternatives: number,
  ranker: Ranker,
): TokenLogprob {
  const max = highest(logits);
  let sum = 0;
  for (let id = 0; id < logits.length; id++) sum += Math.exp((logits[id] as number) - max);
  const logSumExp = max + Math.log(sum);
  const logprob = (id: number) => (logits[id] as number) - logSumExp;
  const top = alternatives === 0 ? [] : ranker.top(logits, alternatives);
  return { token, logprob: logprob(token), top: Array.from(top, (id) => [id, logprob(id)]) };
}

/** The highest logit. Throws `ServerError` where one is NaN or infinite: nothing sampled from those would be text. */
export function highest(logits: Float32Array): number {
  let max = Number.NEGATIVE_INFINITY;
  for (let id = 0; id < logits.length; id++) {
    const logit = logits[id] as number;
    if (!Number.isFinite(logit)) throw new ServerError(`the model gave the logit ${logit} for token ${id}`);
    if (logit > max) max = logit;
  }
  return max;
}
