import { Worker } from 'node:worker_threads';
import { ServerError } from '@baton/errors';
import type { Tokenizer } from '@baton/hymba/tokenizer';

export interface EncodeOptions {
  readonly addSpecialTokens: boolean;
}

/** A text that the thread is asked about. */
export type Asked = readonly [text: string, options: EncodeOptions];

/** Characters that one request may have tokenised where streams stand still for it: a few milliseconds. */
const longest = 4096;

/**
 * Turns texts into tokens: long ones on a thread of its own, since they take up to some hundred milliseconds that streams must
 * not stand still for. Of one tenant's a single text is on the thread at a time, so that those of others wait for no more than
 * that.
 */
export class Tokenisation {
  readonly #tokenizer: Tokenizer;
  /** By tenant, what it asked for last, while that is under way: its next one waits for it. */
  readonly #tails = new Map<string, Promise<unknown>>();
  /** What the thread has not answered yet; it answers in order. */
  readonly #asked: PromiseWithResolvers<number[]>[] = [];
  #thread: Worker | null = null;

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer;
  }

  /** The tokens of each of one request's texts. Throws `ServerError` where the thread is lost. */
  async encode(tenant: string, texts: readonly string[], options: EncodeOptions): Promise<number[][]> {
    const length = texts.reduce((sum, text) => sum + text.length, 0);
    if (length <= longest) return texts.map((text) => this.#tokenizer.encode(text, options));
    return Promise.all(texts.map((text) => this.#inTurn(tenant, [text, options])));
  }

  /** What is under way fails with `ServerError`. */
  async close(): Promise<void> {
    await this.#thread?.terminate();
  }

  #inTurn(tenant: string, asked: Asked): Promise<number[]> {
    const ask = () => this.#ask(asked);
    const before = this.#tails.get(tenant);
    const answer = before ? before.then(ask, ask) : ask();
    this.#tails.set(tenant, answer);
    const done = () => {
      if (this.#tails.get(tenant) === answer) this.#tails.delete(tenant);
    };
    answer.then(done, done);
    return answer;
  }

  #ask(asked: Asked): Promise<number[]> {
    this.#thread ??= this.#start();
    const answer = Promise.withResolvers<number[]>();
    this.#asked.push(answer);
    this.#thread.postMessage(asked);
    return answer.promise;
  }

  #start(): Worker {
    const thread = new Worker(new URL('./tokenisation-thread.ts', import.meta.url), {
      workerData: this.#tokenizer.files,
    });
    let cause: unknown;
    thread.on('message', (tokens: number[]) => this.#asked.shift()?.resolve(tokens));
    thread.on('error', (error) => {
      cause = error;
    });
    thread.on('exit', () => {
      this.#thread = null;
      const error = new ServerError('the prompt could not be tokenised', { cause });
      for (const { reject } of this.#asked.splice(0)) reject(error);
    });
    return thread;
  }
}
