import { OverloadedError } from '@baton/errors';

/** Tasks that one connection may have waiting or running. */
const maxTasks = 64;

/** Bytes of frames that may wait beside the one that came last. */
const maxBytes = 1024 * 1024;

/** Runs tasks: those of one lane first in, first out, those of different lanes side by side. */
export class Lanes {
  readonly #tails = new Map<string | undefined, Promise<void>>();
  #tasks = 0;
  #bytes = 0;

  /** `task`, which holds `bytes`, must not reject. Throws `OverloadedError` where the connection has too much to do already. */
  add(lane: string | undefined, bytes: number, task: () => Promise<void>): void {
    if (this.#tasks >= maxTasks) {
      throw new OverloadedError('overloaded', `${maxTasks} requests wait on this connection already`, 1000);
    }
    if (this.#bytes > maxBytes) {
      throw new OverloadedError('overloaded', `${this.#bytes} bytes wait on this connection already`, 1000);
    }
    this.#tasks++;
    this.#bytes += bytes;
    const tail = (this.#tails.get(lane) ?? Promise.resolve()).then(task).finally(() => {
      this.#tasks--;
      this.#bytes -= bytes;
      if (this.#tails.get(lane) === tail) this.#tails.delete(lane);
    });
    this.#tails.set(lane, tail);
  }
}
