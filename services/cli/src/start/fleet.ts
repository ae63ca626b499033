import { ServerError } from '@baton/errors';
import { type Kept, keepRunning, type Launch } from './keep-running.ts';

/** The processes of one system, started stage by stage and stopped in the opposite order. */
export class Fleet {
  readonly #stages: Kept[][] = [];
  readonly #say: (line: string) => void;
  #isUp = false;

  constructor(say: (line: string) => void) {
    this.#say = say;
  }

  /** Starts the processes of one stage together, and from then on again whenever one ends. */
  async launch(stage: Readonly<Record<string, Launch>>): Promise<void> {
    const members: Kept[] = [];
    this.#stages.push(members);
    const say = (line: string) => this.#isUp && this.#say(line);
    await Promise.all(
      Object.entries(stage).map(async ([name, launch]) => {
        members.push(await keepRunning(name, launch, say));
      }),
    );
  }

  /**
   * Waits until every process is ready. One that ends before has failed to start: throws `ServerError` with its last
   * words. Later ends are only reported.
   */
  async untilReady(): Promise<void> {
    const members = this.#stages.flat();
    const failures = members.map(async ({ name, firstEnd }): Promise<never> => {
      throw new ServerError(`${name} did not start: ${await firstEnd}`);
    });
    await Promise.race([Promise.all(members.map(({ firstReady }) => firstReady)), ...failures]);
    this.#isUp = true;
  }

  /** Stops the last stage first, and the processes of one stage together. */
  async stop(): Promise<void> {
    this.#isUp = false;
    for (const stage of this.#stages.toReversed()) await Promise.all(stage.map((process) => process.stop()));
  }
}
