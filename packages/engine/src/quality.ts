/** How well a model predicted one document. */
export interface DocumentScore {
  readonly tokens: number;
  /** Length of the document's text in UTF-8. */
  readonly bytes: number;
  /** -ln of the probability of all its tokens together. */
  readonly nats: number;
  /** KL divergence from the reference at each token, in nats; empty without a reference. */
  readonly divergences: readonly number[];
}

export interface Quality {
  readonly natsPerToken: number;
  readonly perplexity: number;
  readonly bitsPerByte: number;
  /** Over all tokens of all documents; null without a reference. */
  readonly divergence: { readonly mean: number; readonly p99: number } | null;
}

/**
 * Scores logits [tokens, vocabulary], each row of which predicts the target of its place. `reference` are another model's
 * logits for the same targets.
 */
export function scoreDocument(
  logits: Float32Array,
  { targets, bytes }: { readonly targets: readonly number[]; readonly bytes: number },
  reference?: Float32Array,
): DocumentScore {
  const vocabulary = logits.length / targets.length;
  const rowOf = (all: Float32Array, at: number) => all.subarray(at * vocabulary, (at + 1) * vocabulary);
  let nats = 0;
  const divergences: number[] = [];
  for (const [at, target] of targets.entries()) {
    const row = rowOf(logits, at);
    nats += logSumExp(row) - (row[target] ?? Number.NaN);
    if (reference) divergences.push(divergence(rowOf(reference, at), row));
  }
  return { tokens: targets.length, bytes, nats, divergences };
}

/** All documents together: every token counts the same. */
export function summarise(scores: readonly DocumentScore[]): Quality {
  const total = (of: (score: DocumentScore) => number) => scores.reduce((sum, score) => sum + of(score), 0);
  const nats = total(({ nats }) => nats);
  const natsPerToken = nats / total(({ tokens }) => tokens);
  const divergences = scores.flatMap((score) => score.divergences).sort((a, b) => a - b);
  return {
    natsPerToken,
    perplexity: Math.exp(natsPerToken),
    bitsPerByte: nats / Math.LN2 / total(({ bytes }) => bytes),
    divergence:
      divergences.length === 0
        ? null
        : {
            mean: divergences.reduce((sum, value) => sum + value, 0) / divergences.length,
            p99: divergences[Math.ceil(divergences.length * 0.99) - 1] ?? Number.NaN,
          },
  };
}

/** KL(p || q) in nats of the distributions that two rows of logits stand for. */
function divergence(p: Float32Array, q: Float32Array): number {
  const ofP = logSumExp(p);
  const ofQ = logSumExp(q);
  let sum = 0;
  for (const [i, logit] of p.entries()) {
    const logProbability = logit - ofP;
    sum += Math.exp(logProbability) * (logProbability - (q[i] ?? Number.NaN) + ofQ);
  }
  return sum;
}

/** Every probability is finite in float64 once the largest logit is taken out. */
function logSumExp(logits: Float32Array): number {
  const largest = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - largest);
  return largest + Math.log(sum);
}
