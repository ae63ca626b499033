import { createHash } from 'node:crypto';
import { EngineDiedError, ServerError } from '@baton/errors';
import type { Engine, EngineModel, EngineOutput, EngineRequest } from '../engine.ts';
import { generateSequence } from '../generate-sequence.ts';
import type { Vocabulary } from '../sequence.ts';
import { byteVocabulary } from './byte-vocabulary.ts';
import { ScriptedRunner } from './scripted-runner.ts';

export interface ScriptedEngineOptions {
  /** What the model says to a request, up to its end of sequence. The default is a fixed text for each prompt. */
  readonly script?: (request: EngineRequest) => string;
  /** Milliseconds a step takes. */
  readonly stepMs?: number;
  /**
   * What happens before output token `position` (from 0) is sampled: `throw` fails the sequence, `exit` ends the process
   * as a kill would. `request.replay` tells a first attempt from later ones.
   */
  readonly failure?: (position: number, request: EngineRequest) => 'throw' | 'exit' | undefined;
  /** Tokens to speak in; one a byte by default. */
  readonly vocabulary?: Vocabulary & { readonly size: number; encode(text: string): number[] };
  readonly contextLength?: number;
}

/** An engine without a model, for tests: the real loop, sampler, stop conditions and detokeniser over a script. */
export class ScriptedEngine implements Engine {
  readonly model: EngineModel;
  readonly #options: ScriptedEngineOptions;
  readonly #vocabulary: NonNullable<ScriptedEngineOptions['vocabulary']>;
  readonly #closing = new AbortController();
  readonly #died = Promise.withResolvers<EngineDiedError>();

  constructor(options: ScriptedEngineOptions = {}) {
    this.#options = options;
    this.#vocabulary = options.vocabulary ?? byteVocabulary;
    this.model = {
      fingerprint: createHash('sha256').update('scripted').digest('hex'),
      vocabularySize: this.#vocabulary.size,
      contextLength: options.contextLength ?? 4096,
    };
  }

  async *generate(
    request: EngineRequest,
    signal: AbortSignal,
  ): AsyncGenerator<EngineOutput, void, undefined> {
    const { script = storyOf, stepMs = 0, failure } = this.#options;
    const runner = new ScriptedRunner({
      model: this.model,
      promptLength: request.prompt.length,
      tokens: [...this.#vocabulary.encode(script(request)), ...this.#vocabulary.eosTokenIds.slice(0, 1)],
      stepMs,
      beforeToken: (position) => {
        const fails = failure?.(position, request);
        if (fails === 'exit') process.kill(process.pid, 'SIGKILL');
        if (fails === 'throw') throw new ServerError(`the script fails at token ${position}`);
      },
    });
    const { signal: closing } = this.#closing;
    yield* generateSequence(
      request,
      { runner, vocabulary: this.#vocabulary },
      AbortSignal.any([signal, closing]),
    );
    if (closing.aborted && !signal.aborted) throw new EngineDiedError('the engine was closed');
  }

  get died(): Promise<Error> {
    return this.#died.promise;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#died.resolve(new EngineDiedError('the engine was closed'));
  }
}

/** Some twenty words, chosen by the prompt, with characters of one to four bytes and some of several code points. */
function storyOf({ prompt }: EngineRequest): string {
  const digest = createHash('sha256').update(prompt.join()).digest();
  return Array.from(digest.subarray(0, 20), (byte) => words[byte % words.length]).join(' ');
}

const words = [
  'once',
  'upon',
  'a',
  'time',
  'the',
  'little',
  'boat',
  'cannot',
  'swim',
  'naïve',
  'déjà',
  'vu',
  '猫',
  '👩‍👩‍👧',
  '🇫🇮',
  '…',
];
