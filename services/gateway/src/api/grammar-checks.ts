import { createHash } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import { RequestError, ServerError } from '@baton/errors';
import type { GrammarSource } from '@baton/protocol';
import { TenantThread } from '../tenant-thread.ts';
import type { Refusal } from './grammar-thread.ts';

/** Grammars whose result is remembered; each takes some hundred bytes. */
const kept = 1000;

/**
 * Tells which grammars compile. Clients send the same schema with every request: it is compiled at the first one only, on a
 * thread of its own, since a large one takes some hundred milliseconds.
 */
export class GrammarChecks {
  /** By a hash of tenant and grammar, so that nobody waits in another's turn; the one used last comes last. */
  readonly #results = new Map<string, Promise<Refusal | null>>();
  readonly #thread = new TenantThread<string, Refusal | null>(
    () => new Worker(new URL('./grammar-thread.ts', import.meta.url)),
    (cause) => new ServerError('the schema could not be compiled', { cause }),
  );

  /** Throws `RequestError` as `compileGrammar`, `ServerError` where compiling itself fails. */
  async check(
    tenant: string,
    source: GrammarSource,
    param: string,
    functionParams: readonly string[] = [],
  ): Promise<void> {
    const given = JSON.stringify([source, param, functionParams]);
    const key = createHash('sha256').update(`${tenant}\0${given}`).digest('base64');
    const result = this.#results.get(key) ?? this.#thread.ask(tenant, given);
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
  close(): Promise<void> {
    return this.#thread.close();
  }
}
