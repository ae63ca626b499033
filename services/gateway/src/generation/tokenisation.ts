import { Worker } from 'node:worker_threads';
import { ServerError } from '@baton/errors';
import type { Tokenizer } from '@baton/hymba/tokenizer';
import { TenantThread } from '../tenant-thread.ts';

export interface EncodeOptions {
  readonly addSpecialTokens: boolean;
}

/** A text that the thread is asked about. */
export type Asked = readonly [text: string, options: EncodeOptions];

/** Characters that one request may have tokenised where streams stand still for it: a few milliseconds. */
const longest = 4096;

/**
 * Turns texts into tokens: long ones on a thread of its own, since they take up to some hundred milliseconds.
 */
export class Tokenisation {
  readonly #tokenizer: Tokenizer;
  readonly #thread: TenantThread<Asked, number[]>;

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer;
    const options = { workerData: tokenizer.files };
    this.#thread = new TenantThread(
      () => new Worker(new URL('./tokenisation-thread.ts', import.meta.url), options),
      (cause) => new ServerError('the prompt could not be tokenised', { cause }),
    );
  }

  /** The tokens of each of one request's texts. Throws `ServerError` where the thread is lost. */
  async encode(tenant: string, texts: readonly string[], options: EncodeOptions): Promise<number[][]> {
    const length = texts.reduce((sum, text) => sum + text.length, 0);
    if (length <= longest) return texts.map((text) => this.#tokenizer.encode(text, options));
    return Promise.all(texts.map((text) => this.#thread.ask(tenant, [text, options])));
  }

  /** What is under way fails with `ServerError`. */
  close(): Promise<void> {
    return this.#thread.close();
  }
}
