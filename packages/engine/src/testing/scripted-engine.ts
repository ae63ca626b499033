import { createHash } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { EngineDiedError, ServerError } from '@baton/errors';
import { BatchLoop } from '../batch/batch-loop.ts';
import type { Engine, EngineCapacity, EngineModel, EngineOutput, EngineRequest, Standby } from '../engine.ts';
import { EngineRuns } from '../engine-runs.ts';
import type { Vocabulary } from '../sequence.ts';
import { byteVocabulary } from './byte-vocabulary.ts';
import { type Script, ScriptedRunner, type ScriptedState } from './scripted-runner.ts';
import { scriptedLayout } from './scripted-state.ts';

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
  readonly slots?: number;
}

/** An engine without a model, for tests: the real loop, sampler, stop conditions and detokeniser over a script. */
export class ScriptedEngine implements Engine {
  readonly model: EngineModel;
  readonly device = 'cpu';
  readonly layout = scriptedLayout;
  readonly capacity: EngineCapacity;
  readonly #loop: BatchLoop<ScriptedState>;
  readonly #runs: EngineRuns;
  readonly #died = Promise.withResolvers<EngineDiedError>();
  #running = false;

  constructor(options: ScriptedEngineOptions = {}) {
    const { vocabulary = byteVocabulary, contextLength = 4096, slots = 8, stepMs = 0 } = options;
    this.model = {
      fingerprint: createHash('sha256').update('scripted').digest('hex'),
      vocabularySize: vocabulary.size,
      contextLength,
    };
    const scriptOf = (request: EngineRequest): Script => ({
      tokens: [
        ...vocabulary.encode((options.script ?? storyOf)(request)),
        ...vocabulary.eosTokenIds.slice(0, 1),
      ],
      beforeToken: (position) => {
        const fails = options.failure?.(position, request);
        if (fails === 'exit') process.kill(process.pid, 'SIGKILL');
        if (fails === 'throw') throw new ServerError(`the script fails at token ${position}`);
      },
    });
    const runner = new ScriptedRunner({ model: this.model, slots, scriptOf, stepMs });
    this.#loop = new BatchLoop({ runner, vocabulary });
    this.capacity = this.#loop.capacity;
    this.#runs = new EngineRuns({
      add: (run, request) => {
        this.#loop.add(run, request);
        this.#wake();
      },
      abort: (run) => {
        this.#loop.abort(run);
        this.#wake();
      },
      drain: (run) => {
        this.#loop.drain(run);
        this.#wake();
      },
      follow: (run, tokens, takeOver) => {
        this.#loop.follow(run, tokens, takeOver);
        this.#wake();
      },
    });
  }

  generate(
    request: EngineRequest,
    signal: AbortSignal,
    drain?: AbortSignal,
  ): AsyncGenerator<EngineOutput, void, undefined> {
    return this.#runs.generate(request, signal, drain);
  }

  standBy(request: EngineRequest, signal: AbortSignal, drain?: AbortSignal): Standby {
    return this.#runs.standBy(request, signal, drain);
  }

  get died(): Promise<Error> {
    return this.#died.promise;
  }

  async close(): Promise<void> {
    const death = new EngineDiedError('the engine was closed');
    this.#died.resolve(death);
    this.#runs.die(death);
  }

  #wake(): void {
    if (!this.#running) void this.#run();
  }

  async #run(): Promise<void> {
    this.#running = true;
    while (!this.#loop.idle) {
      await nextTurn();
      this.#runs.deliver(await this.#loop.step());
    }
    this.#running = false;
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
