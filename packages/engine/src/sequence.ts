import { RequestError, ServerError } from '@baton/errors';
import type { GrammarMatcher, Grammars } from '@baton/grammar';
import { Detokenizer, type TokenTable } from '@baton/hymba/tokenizer';
import type { FinishReason, TokenLogprob } from '@baton/protocol';
import type { Step } from './batch/runner.ts';
import type { EngineModel, EngineOutput, EngineRequest } from './engine.ts';
import { tokenLogprob } from './sampling/logprobs.ts';
import { Ranker } from './sampling/ranker.ts';
import { Sampler } from './sampling/sampler.ts';
import { tokensOf } from './state/session-state.ts';
import { StopStrings } from './stop-strings.ts';

/** The vocabulary that sequences are made of. */
export interface Vocabulary extends TokenTable {
  readonly eosTokenIds: readonly number[];
}

export interface SequenceContext {
  readonly model: EngineModel;
  readonly vocabulary: Vocabulary;
  readonly grammars: Grammars;
}

/**
 * One sequence between two steps of the model: `schedule` says what to run next, `postprocess` takes the logits.
 *
 * Everything here but the scores is a function of the tokens: replaying them restores it, and gives their text again, of
 * which only what is not logged yet comes out.
 */
export class Sequence {
  readonly #request: EngineRequest;
  readonly #context: SequenceContext;
  readonly #grammar: GrammarMatcher | null;
  readonly #sampler: Sampler;
  readonly #detokenizer: Detokenizer;
  readonly #stops: StopStrings;
  readonly #ranker: Ranker;
  /** Prompt and output. */
  readonly #tokens: number[];
  /** How many of them the model has been fed. */
  #fed = 0;
  #finish: FinishReason | null = null;
  /** Whether it follows another owner, and must not sample yet. */
  #standsBy = false;
  /** What the model said after the last token, for when it may. */
  #logits: Float32Array | null = null;
  #endOfReplay: EngineOutput | null = null;
  /** Text of replayed tokens that still has to come out. */
  #unsaid = '';

  /** Throws `RequestError` for a prompt or a grammar that the model cannot take. */
  constructor(request: EngineRequest, context: SequenceContext) {
    const { prompt, sampling, replay } = request;
    const { model, vocabulary, grammars } = context;
    checkPrompt(prompt, model);
    this.#grammar = sampling.grammar && grammars.matcher(sampling.grammar);
    this.#request = request;
    this.#context = context;
    this.#tokens = [...prompt];
    this.#ranker = new Ranker(model.vocabularySize);
    this.#sampler = new Sampler(sampling, {
      prompt,
      vocabularySize: model.vocabularySize,
      eosTokenIds: vocabulary.eosTokenIds,
      grammar: this.#grammar,
    });
    this.#detokenizer = new Detokenizer(vocabulary, {
      startOfText: prompt.every((token) => vocabulary.isSpecial(token)),
    });
    this.#stops = new StopStrings(sampling.stop);
    this.#fed = tokensOf(request.resume ?? []);
    if (this.#isFull()) this.#finish = 'length';
    this.follow(replay);
    checkResume(this.#fed, this.#end, this.#scoresFrom);
    this.#standsBy = request.standby ?? false;
    if (!this.#standsBy) this.takeOver(request.replayTextLength);
  }

  /** Takes output tokens that another owner has sampled. */
  follow(tokens: readonly number[]): void {
    for (const token of tokens) {
      if (this.#finish) throw new ServerError(`the replay of ${this.#request.id} goes on after its end`);
      this.#unsaid += this.#append(token);
      this.#logits = null;
    }
  }

  /**
   * Samples from here on; of the text so far as much is logged as `replayTextLength` says. Gives the next token where the model
   * has been fed all before it.
   */
  takeOver(replayTextLength: number): EngineOutput[] {
    this.#standsBy = false;
    this.#unsaid = this.#unsaid.slice(replayTextLength);
    this.#endOfReplay = this.#finish && {
      kind: 'tokens',
      tokens: [],
      text: this.#unsaid,
      finish: this.#finish,
    };
    return this.#logits && !this.#finish ? [this.#sample(this.#logits)] : [];
  }

  /** Whether it follows another owner until `takeOver`. */
  get standsBy(): boolean {
    return this.#standsBy;
  }

  /** All that is left to say after the prompt's scores, where the replay was complete or nothing is to be sampled. */
  get endOfReplay(): EngineOutput | null {
    return this.#endOfReplay;
  }

  /** How many tokens the model has been fed, or remembered from before. */
  get fed(): number {
    return this.#fed;
  }

  /** How many tokens the model has to be fed as yet: prompt and replayed ones, then each sampled one; 0 at the end. */
  get pending(): number {
    return Math.max(0, this.#end - this.#fed);
  }

  /** The next of the pending tokens, at most `most`. */
  schedule(most: number): Step {
    const from = this.#fed;
    const to = Math.min(from + most, this.#end);
    const rows: number[] = [];
    for (let at = from; at < to; at++) {
      if (this.#scoresPrompt(at + 1) || this.#samplesAfter(at)) rows.push(at - from);
    }
    return { ids: this.#tokens.slice(from, to), rows };
  }

  /** Takes the logits [rows, vocabulary] of the step scheduled last. */
  postprocess(step: Step, logits: Float32Array): EngineOutput[] {
    const size = this.#context.model.vocabularySize;
    const outputs: EngineOutput[] = [];
    const { prompt, sampling } = this.#request;
    const alternatives = sampling.prompt_logprobs ?? 0;
    const scores: TokenLogprob[] = [];
    let sampled: Float32Array | null = null;
    if (this.#fed === 0 && this.#scoresPrompt(0)) {
      scores.push({ token: prompt[0] as number, logprob: null, top: [] });
    }
    for (const [index, row] of step.rows.entries()) {
      const rowLogits = logits.subarray(index * size, (index + 1) * size);
      const at = this.#fed + row;
      if (this.#samplesAfter(at)) sampled = rowLogits;
      else scores.push(tokenLogprob(rowLogits, prompt[at + 1] as number, alternatives, this.#ranker));
    }
    const scored = Math.min(this.#fed + step.ids.length + 1, prompt.length);
    if (scores.length > 0) outputs.push({ kind: 'prompt', from: scored - scores.length, logprobs: scores });
    this.#fed += step.ids.length;
    if (sampled && this.#standsBy) this.#logits = sampled.slice();
    else if (sampled) outputs.push(this.#sample(sampled));
    return outputs;
  }

  /** How many tokens the model must be fed: all while sampling goes on, else as many as score the prompt. */
  get #end(): number {
    if (!this.#finish) return this.#tokens.length;
    const { prompt } = this.#request;
    return this.#scoresPrompt(prompt.length - 1) ? Math.max(prompt.length - 1, 1) : 0;
  }

  /** Whether the prompt token at `position` is to be scored. */
  #scoresPrompt(position: number): boolean {
    const { prompt, sampling, promptLogprobsFrom } = this.#request;
    return sampling.prompt_logprobs !== null && position >= promptLogprobsFrom && position < prompt.length;
  }

  /** The first prompt token that is to be scored. */
  get #scoresFrom(): number {
    const { prompt, sampling, promptLogprobsFrom } = this.#request;
    return sampling.prompt_logprobs === null || promptLogprobsFrom >= prompt.length
      ? Number.POSITIVE_INFINITY
      : promptLogprobsFrom;
  }

  #samplesAfter(position: number): boolean {
    return !this.#finish && position === this.#tokens.length - 1;
  }

  #sample(logits: Float32Array): EngineOutput {
    const { logprobs } = this.#request.sampling;
    const token = this.#sampler.sample(logits);
    const text = this.#unsaid + this.#append(token);
    this.#unsaid = '';
    return {
      kind: 'tokens',
      tokens: [token],
      text,
      ...(logprobs !== null && { logprobs: [tokenLogprob(logits, token, logprobs, this.#ranker)] }),
      ...(this.#finish && { finish: this.#finish }),
    };
  }

  /** Adds an output token, and decides whether it is the last one. Gives the text that it made certain. */
  #append(token: number): string {
    const { sampling, prompt } = this.#request;
    this.#tokens.push(token);
    this.#sampler.accept(token);
    const armed = this.#tokens.length - prompt.length >= sampling.min_tokens;
    if (this.#context.vocabulary.eosTokenIds.includes(token) && !sampling.ignore_eos) {
      this.#finish = 'stop';
      return this.#endText('', armed);
    }
    const { text, stopped } = this.#stops.push(this.#detokenizer.push(token), armed);
    if (stopped) this.#finish = 'stop';
    else if (this.#hasNoWayOn()) {
      this.#finish = 'stop';
      return this.#endText(text, armed);
    } else if (this.#isFull()) {
      this.#finish = 'length';
      return this.#endText(text, armed);
    }
    return text;
  }

  #endText(text: string, armed: boolean): string {
    const rest = this.#stops.push(this.#detokenizer.flush(), armed);
    return text + rest.text + (rest.stopped ? '' : this.#stops.flush());
  }

  /** Its grammar wants the end, and the model has no token that says so. */
  #hasNoWayOn(): boolean {
    return this.#context.vocabulary.eosTokenIds.length === 0 && (this.#grammar?.mask.onlyEnd ?? false);
  }

  #isFull(): boolean {
    const { prompt, sampling } = this.#request;
    const room = Math.min(sampling.max_tokens, this.#context.model.contextLength - prompt.length);
    return this.#tokens.length - prompt.length >= room;
  }
}

/** A token is scored by what the model says after the one before it, which therefore has to be fed. */
function checkResume(resumed: number, end: number, scoresFrom: number): void {
  if (resumed === 0 || end === 0 || (resumed < end && resumed < scoresFrom)) return;
  throw new ServerError(
    `the state to go on from remembers ${resumed} tokens; of ${end} to be fed at least one must be left` +
      (Number.isFinite(scoresFrom) ? `, and the one before token ${scoresFrom}, which is to be scored` : ''),
  );
}

function checkPrompt(prompt: readonly number[], { vocabularySize, contextLength }: EngineModel): void {
  if (prompt.length === 0) throw new RequestError('invalid_value', 'the prompt has no tokens', 'prompt');
  if (prompt.length > contextLength) {
    throw new RequestError(
      'context_length_exceeded',
      `the prompt has ${prompt.length} tokens; this model's context holds ${contextLength}`,
      'prompt',
    );
  }
  const unknown = prompt.find((token) => !(Number.isInteger(token) && token >= 0 && token < vocabularySize));
  if (unknown !== undefined) {
    throw new RequestError(
      'invalid_value',
      `the prompt holds token ${unknown}; this model's tokens are 0 to ${vocabularySize - 1}`,
      'prompt',
    );
  }
}
