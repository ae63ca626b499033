import { createHash } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import { RequestError, ServerError } from '@baton/errors';
import type { GrammarSource } from '@baton/protocol';
import type { Refusal } from './grammar-thread.ts';

/** Grammars whose result is remembered; each takes some hundred bytes. */
const kept = 1000;

/**
 * Tells which grammars compile. Clients send the same schema with every request: it is compiled at the first one only, on a
 * thread of its own, since a large one takes some hundred milliseconds that streams must not stand still for. Of one tenant's
 * a single one is on the thread at a time, so that those of others wait for no more than that.
 */
export class GrammarChecks {
  /** By a hash of tenant and grammar, so that nobody waits in another's turn; the one used last comes last. */
  readonly #results = new Map<string, Promise<Refusal | null>>();
  /** By tenant, what it asked for last, while that is under way: its next one waits for it. */
  readonly #tails = new Map<string, Promise<unknown>>();
  /** What the thread has not answered yet; it answers in order, so that it is at the first one. */
  readonly #asked: Asked[] = [];
  #thread: Worker | null = null;

  /** Throws `RequestError` as `compileGrammar`, `ServerError` where compiling itself fails. */
  async check(
    tenant: string,
    source: GrammarSource,
    param: string,
    functionParams: readonly string[] = [],
  ): Promise<void> {
    const given = JSON.stringify([source, param, functionParams]);
    const key = createHash('sha256').update(`${tenant}\0${given}`).digest('base64');
    const result = this.#results.get(key) ?? this.#inTurn(tenant, given);
    this.#results.delete(key);
    this.#results.set(key, result);
    const [oldest] = this.#results.keys();
    if (this.#results.size > kept && oldest !== undefined) this.#results.delete(oldest);
    const refusal = await result.catch((error: unknown) => {
      if (this.#results.get(key) === result) this.#results.delete(key);
      throw error;
    });
    if (refusal) throw new RequestError(refusal.code, refusal.message, refusal.param);
  }

  async passes(tenant: string, source: GrammarSource): Promise<boolean> {
    try {
      await this.check(tenant, source, 'schema');
      return true;
    } catch (error) {
      if (error instanceof RequestError) return false;
      throw error;
    }
  }

  /** What is under way fails with `ServerError`. */
  async close(): Promise<void> {
    const thread = this.#thread;
    this.#thread = null;
    for (const { answer } of this.#asked.splice(0)) answer.reject(failure(new Error('the server stops')));
    await thread?.terminate();
  }

  #inTurn(tenant: string, given: string): Promise<Refusal | null> {
    const ask = () => this.#ask(given);
    const before = this.#tails.get(tenant);
    const answer = before ? before.then(ask, ask) : ask();
    this.#tails.set(tenant, answer);
    const done = () => {
      if (this.#tails.get(tenant) === answer) this.#tails.delete(tenant);
    };
    answer.then(done, done);
    return answer;
  }

  #ask(given: string): Promise<Refusal | null> {
    const answer = Promise.withResolvers<Refusal | null>();
    this.#asked.push({ given, answer });
    this.#thread ??= this.#start();
    this.#thread.postMessage(given);
    return answer.promise;
  }

  #start(): Worker {
    const thread = new Worker(new URL('./grammar-thread.ts', import.meta.url));
    let cause: unknown;
    thread.on('message', (refusal: Refusal | null) => this.#asked.shift()?.answer.resolve(refusal));
    thread.on('error', (error) => {
      cause = error;
    });
    thread.on('exit', () => {
      if (this.#thread !== thread) return;
      // Whatever it was at has ended it; the others are somebody else's, and another thread compiles them.
      this.#asked.shift()?.answer.reject(failure(cause));
      this.#thread = this.#asked.length > 0 ? this.#start() : null;
      for (const { given } of this.#asked) this.#thread?.postMessage(given);
    });
    return thread;
  }
}

interface Asked {
  readonly given: string;
  readonly answer: PromiseWithResolvers<Refusal | null>;
}

function failure(cause: unknown): ServerError {
  return new ServerError('the schema could not be compiled', { cause });
}
