import { createHash } from 'node:crypto';
import { RequestError } from '@baton/errors';
import { compileGrammar } from '@baton/grammar';
import type { GrammarSource } from '@baton/protocol';

/** Grammars whose result is remembered; each takes some hundred bytes. */
const kept = 1000;

/** Tells which grammars compile. Clients send the same schema with every request: it is compiled at the first one only. */
export class GrammarChecks {
  /** By a hash of what was compiled; the one used last comes last. */
  readonly #results = new Map<string, RequestError | null>();

  /** Throws `RequestError` as `compileGrammar`. */
  check(source: GrammarSource, param: string, functionParams: readonly string[] = []): void {
    const key = createHash('sha256')
      .update(JSON.stringify([source, param, functionParams]))
      .digest('base64');
    let result = this.#results.get(key);
    if (result === undefined) result = refusal(source, param, functionParams);
    this.#results.delete(key);
    this.#results.set(key, result);
    const [oldest] = this.#results.keys();
    if (this.#results.size > kept && oldest !== undefined) this.#results.delete(oldest);
    if (result) throw result;
  }

  passes(source: GrammarSource): boolean {
    try {
      this.check(source, 'schema');
      return true;
    } catch (error) {
      if (error instanceof RequestError) return false;
      throw error;
    }
  }
}

function refusal(...given: Parameters<typeof compileGrammar>): RequestError | null {
  try {
    compileGrammar(...given);
    return null;
  } catch (error) {
    if (error instanceof RequestError) return error;
    throw error;
  }
}
