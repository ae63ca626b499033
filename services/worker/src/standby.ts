import type { Engine, EngineOutput, Standby as EngineStandby } from '@baton/engine';
import { ServerError } from '@baton/errors';
import type { FollowedLog, TokenLog } from '@baton/log';
import type { GenerationJob, LogState } from '@baton/protocol';
import { contextOf } from '@baton/telemetry';
import { type Begun, requestOf } from './begun.ts';
import { inRestoreSpan, linksOfSuccessor } from './record.ts';
import type { Restored, SessionStates } from './states/session-states.ts';

export interface StandbyContext {
  readonly workerId: string;
  readonly log: TokenLog;
  readonly engine: Engine;
  readonly states: Pick<SessionStates, 'restore' | 'track'>;
}

/** How long a slot is kept for a generation that does not come. */
const waitMs = 30_000;

/**
 * A generation that another worker runs, kept ready to go on here: its log is followed, its state restored into a slot, and
 * what it says meanwhile fed as it comes. It is claimed when its owner has released it for this worker, and not before.
 */
export class Standby {
  readonly job: GenerationJob;
  readonly log: FollowedLog;
  /** Resolves once it is as far as its log was a moment ago. Rejects where it cannot be run here. */
  readonly caughtUp: Promise<void>;
  /** Whether its owner has released it for this worker, once that is known; false where it ends, stays, or goes elsewhere. */
  readonly released: Promise<boolean>;
  readonly #workerId: string;
  readonly #begun: Begun;
  readonly #engine: EngineStandby;
  readonly #epoch: number;
  /** What came before it had caught up. */
  readonly #early: EngineOutput[] = [];
  /** How many of the log's tokens the engine knows. */
  #told: number;
  #isCaughtUp = false;
  #isWanted = false;
  #isDismissed = false;
  #isTaken = false;

  /** Null where there is nothing to prepare: it has ended, or its prompt is to be scored as it is fed. */
  static async start(generation: string, context: StandbyContext): Promise<Standby | null> {
    const followed = await context.log.follow(generation);
    try {
      const { job, terminal, epoch, tokens, traces } = followed.state;
      if (job === null || terminal !== null || job.sampling.prompt_logprobs !== null) {
        followed.stop();
        return null;
      }
      const span = { parent: contextOf(traces.request), links: linksOfSuccessor({ traces }) };
      const restored = await inRestoreSpan(span, () =>
        context.states.restore(job, { epoch: epoch + 1, tokens }, async () => {
          await followed.readOn();
          return followed.state.tokens;
        }),
      );
      return new Standby(job, followed, restored, context);
    } catch (error) {
      followed.stop();
      throw error;
    }
  }

  private constructor(
    job: GenerationJob,
    followed: FollowedLog,
    restored: Restored,
    { workerId, engine, states }: StandbyContext,
  ) {
    this.#workerId = workerId;
    this.job = job;
    this.log = followed;
    const tracker = states.track(job, restored);
    const [stop, drain] = [new AbortController(), new AbortController()];
    const request = requestOf(job, followed.state, restored, tracker);
    this.#engine = engine.standBy(request, stop.signal, drain.signal);
    const outputs = this.#engine.outputs[Symbol.asyncIterator]();
    this.#begun = { restored, tracker, outputs, stop, drain, stoodBy: true };
    this.#epoch = followed.state.epoch;
    this.#told = request.replay.length;
    this.caughtUp = this.#catchUp();
    this.released = this.#follow();
    this.caughtUp.catch(() => this.log.stop());
  }

  /** Its job has come here, whatever became of its owner: nothing is waited for any more. */
  take(): void {
    this.#isWanted = true;
    this.log.stop();
  }

  /** Its job went elsewhere: who has that goes on with it. */
  dismiss(): void {
    this.#isDismissed = true;
    this.log.stop();
  }

  /** The owner has released it, and it is claimed now with such a log: samples from here on. */
  takeOver({ tokens, text }: LogState): Begun {
    this.#isTaken = true;
    this.#engine.follow(tokens.slice(this.#told));
    this.#engine.takeOver(text.length);
    return { ...this.#begun, outputs: this.#outputs() };
  }

  /** Gives the slot back, also where it was taken over and has ended. */
  async close(): Promise<void> {
    this.log.stop();
    this.#begun.stop.abort();
    if (!this.#isTaken) this.#begun.tracker.abandon();
    await this.#begun.outputs.return?.();
  }

  async #catchUp(): Promise<void> {
    for (;;) {
      const next = await this.#begun.outputs.next();
      if (next.done) throw new ServerError(`${this.job.id} is not waited for any more`);
      if (next.value.kind === 'caught up') {
        this.#isCaughtUp = true;
        return;
      }
      this.#early.push(next.value);
    }
  }

  async #follow(): Promise<boolean> {
    try {
      for await (const entry of this.log.entries({ signal: AbortSignal.timeout(waitMs) })) {
        if (entry.kind === 'tokens') {
          this.#engine.follow(entry.tokens);
          this.#told += entry.tokens.length;
        }
        if (entry.kind === 'released') break;
        if (this.log.state.epoch > this.#epoch) return false;
      }
      if (!this.#isCaughtUp) {
        await this.caughtUp;
        // Whoever got the job may have gone on long since.
        await this.log.readOn();
      }
    } catch {
      // It is not waited for, or cannot be run or followed here: it comes by the queue, if at all.
      return false;
    }
    const { epoch, lastRelease, terminal } = this.log.state;
    if (this.#isDismissed || epoch > this.#epoch) return false;
    return this.#isWanted || (terminal === null && this.#isMeant(lastRelease));
  }

  /** What goes back to the queue, or to another worker, is left to whoever gets its job. */
  #isMeant(release: LogState['lastRelease']): boolean {
    return release !== null && (release.target === undefined || release.target === this.#workerId);
  }

  async *#outputs(): AsyncGenerator<EngineOutput, void> {
    await this.caughtUp;
    yield* this.#early;
    const { outputs } = this.#begun;
    for (let next = await outputs.next(); !next.done; next = await outputs.next()) yield next.value;
  }
}
