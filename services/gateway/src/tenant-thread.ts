import type { Worker } from 'node:worker_threads';

interface Asked<Question, Answer> {
  readonly question: Question;
  readonly answer: PromiseWithResolvers<Answer>;
}

/**
 * A thread that answers each message with one, in order: for work that streams must not stand still for. Of one tenant's a
 * single question is on it at a time, so that those of others wait for no more than that.
 */
export class TenantThread<Question, Answer> {
  readonly #start: () => Worker;
  readonly #failure: (cause: unknown) => Error;
  /** By tenant, what it asked for last, while that is under way: its next one waits for it. */
  readonly #tails = new Map<string, Promise<unknown>>();
  /** What the thread has not answered yet; it is at the first one. */
  readonly #asked: Asked<Question, Answer>[] = [];
  #thread: Worker | null = null;
  #isClosed = false;

  /** `failure` makes what a question fails with that the thread dies of. */
  constructor(start: () => Worker, failure: (cause: unknown) => Error) {
    this.#start = start;
    this.#failure = failure;
  }

  ask(tenant: string, question: Question): Promise<Answer> {
    const ask = () => this.#ask(question);
    const before = this.#tails.get(tenant);
    const answer = before ? before.then(ask, ask) : ask();
    this.#tails.set(tenant, answer);
    const done = () => {
      if (this.#tails.get(tenant) === answer) this.#tails.delete(tenant);
    };
    answer.then(done, done);
    return answer;
  }

  /** What is under way fails, and so does whatever is asked from here on. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const thread = this.#thread;
    this.#thread = null;
    for (const { answer } of this.#asked.splice(0)) answer.reject(this.#stopped());
    await thread?.terminate();
  }

  #stopped(): Error {
    return this.#failure(new Error('the server stops'));
  }

  #ask(question: Question): Promise<Answer> {
    if (this.#isClosed) return Promise.reject(this.#stopped());
    const answer = Promise.withResolvers<Answer>();
    this.#asked.push({ question, answer });
    this.#thread ??= this.#open();
    this.#thread.postMessage(question);
    return answer.promise;
  }

  #open(): Worker {
    const thread = this.#start();
    let cause: unknown;
    thread.on('message', (answer: Answer) => this.#asked.shift()?.answer.resolve(answer));
    thread.on('error', (error) => {
      cause = error;
    });
    thread.on('exit', () => {
      if (this.#thread !== thread) return;
      // Whatever it was at has ended it; the others are somebody else's, and another thread answers them.
      this.#asked.shift()?.answer.reject(this.#failure(cause));
      this.#thread = this.#asked.length > 0 ? this.#open() : null;
      for (const { question } of this.#asked) this.#thread?.postMessage(question);
    });
    return thread;
  }
}
