import { OverloadedError } from '@baton/errors';

/** Tasks that one connection may have waiting or running. */
const maxTasks = 64;

/** Runs tasks: those of one lane first in, first out, those of different lanes side by side. */
export class Lanes {
  readonly #tails = new Map<string | undefined, Promise<void>>();
  #tasks = 0;

  /** `task` must not reject. Throws `OverloadedError` where the connection has too many tasks already. */
  add(lane: string | undefined, task: () => Promise<void>): void {
    if (this.#tasks >= maxTasks) {
      throw new OverloadedError('overloaded', `${maxTasks} requests wait on this connection already`, 1000);
    }
    this.#tasks++;
    const tail = (this.#tails.get(lane) ?? Promise.resolve()).then(task).finally(() => {
      this.#tasks--;
      if (this.#tails.get(lane) === tail) this.#tails.delete(lane);
    });
    this.#tails.set(lane, tail);
  }
}
