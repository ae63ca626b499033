import type { Engine } from '@baton/engine';
import { DependencyError } from '@baton/errors';
import { commandWorker, type FleetWatch } from '@baton/fleet';
import type { TokenLog } from '@baton/log';
import type { CommandReply, GenerationJob, WorkerStatus } from '@baton/protocol';
import { HandedOver } from '@baton/queue';
import { contextOf } from '@baton/telemetry';
import { context } from '@opentelemetry/api';
import type { Logger } from 'pino';
import { Standby } from './standby.ts';
import type { SessionStates } from './states/session-states.ts';
import type { StateTracker } from './states/state-tracker.ts';

/** One generation that runs here. */
export interface Running {
  readonly job: GenerationJob;
  /** Stops it at a token boundary; with `HandedOver` when the worker that it moves to is ready. */
  readonly release: AbortController;
  /** What `runGeneration` gives; false also where it was dismissed. */
  ended: Promise<boolean>;
  tracker: StateTracker | null;
  /** Whether the engine has had room for it. */
  begun: boolean;
  /** Where it moves to. */
  target: string | null;
  /** Why it does not. */
  obstacle: string;
}

export interface MovesOptions {
  readonly workerId: string;
  readonly modelName: string;
  readonly engine: Engine;
  readonly log: TokenLog;
  readonly states: SessionStates;
  readonly fleet: FleetWatch;
  /** By generation. */
  readonly running: ReadonlyMap<string, Running>;
  /** Goes on with what has stood by here. */
  readonly begin: (standby: Standby) => Running;
  /** `standing` or `expected` is another number now. */
  readonly onComing: () => void;
  readonly logger: Logger;
}

export type Answer = Omit<CommandReply, 'v'>;
export const done: Answer = { done: true, reason: '' };

/** Why a generation is released that has come without its job. */
export const dismissed = new DOMException('its job went back to the queue', 'AbortError');

/** How long the worker that a generation moves to may take to restore and compute what it has to. */
const prepareMs = 20_000;

/** A generation that stands by here. */
interface Coming {
  /** Null where there was nothing to prepare. */
  readonly standby: Promise<Standby | null>;
  /** What it runs as once its owner has released it; null where it does not come. */
  readonly arrival: Promise<Running | null>;
}

/** Generations that move between this worker and others. */
export class Moves {
  readonly #options: MovesOptions;
  readonly #coming = new Map<string, Coming>();

  constructor(options: MovesOptions) {
    this.#options = options;
  }

  /** Generations that take a slot here before they run here. */
  get standing(): number {
    return [...this.#coming.keys()].filter((id) => !this.#options.running.has(id)).length;
  }

  /** Generations that take a slot here, running or not, before their jobs come. */
  get expected(): number {
    return this.#coming.size;
  }

  /** Moves a generation to another worker, or says why not. Answers when it has begun to. */
  migrate(generation: string, to: string | null): Answer {
    const running = this.#options.running.get(generation);
    if (!running) return { done: false, reason: `${generation} does not run here` };
    const target = running.target ?? this.#target(to);
    if (target === null) {
      return {
        done: false,
        reason: to === null ? 'no other worker has room' : `worker ${to} has no room, or another model`,
      };
    }
    void this.#move(running, target);
    return { done: true, reason: `goes on at ${target}` };
  }

  /** Moves all that runs here to whoever has room; resolves when others are ready for it. */
  async leave(): Promise<void> {
    const { running } = this.#options;
    await Promise.all([...running.values()].map((one) => this.#move(one, this.#target(null))));
  }

  /** Has a generation that runs elsewhere stand by here. Answers once only its owner is waited for. */
  async prepare(generation: string): Promise<Answer> {
    const { engine, running } = this.#options;
    if (!this.#coming.has(generation)) {
      if (running.size + this.standing >= engine.capacity.slots) {
        return { done: false, reason: 'there is no room' };
      }
      this.#standBy(generation);
    }
    const standby = await this.#coming.get(generation)?.standby;
    await standby?.caughtUp;
    return done;
  }

  /** The job of a generation has come. Gives what it runs as where it has stood by here; null where it is still to begin. */
  async arrived(generation: string): Promise<Running | null> {
    const coming = this.#coming.get(generation);
    this.#coming.delete(generation);
    this.#options.onComing();
    void coming?.standby.then(
      (standby) => standby?.take(),
      () => {},
    );
    return (await coming?.arrival) ?? null;
  }

  /** The job of a generation that stands by here has gone back to the queue: whoever takes it there goes on. */
  dismiss(generation: string): void {
    const coming = this.#coming.get(generation);
    const nothing = () => {};
    void coming?.standby.then((standby) => standby?.dismiss(), nothing);
    void coming?.arrival.then((running) => running?.release.abort(dismissed), nothing);
  }

  #standBy(generation: string): void {
    const standby = Standby.start(generation, this.#options);
    const arrival = standby
      .then(async (standby) => {
        if (standby === null) return null;
        if (await standby.released) return this.#begin(standby);
        await standby.close();
        return null;
      })
      .catch(() => null);
    const coming = { standby, arrival };
    const forget = () => {
      if (this.#coming.get(generation) === coming) this.#coming.delete(generation);
      this.#options.onComing();
    };
    this.#coming.set(generation, coming);
    this.#options.onComing();
    void arrival.then((running) => running?.ended).then(forget, forget);
  }

  /** In the generation's trace, of which the command to stand by knew nothing. */
  #begin(standby: Standby): Running {
    const { request } = standby.log.state.traces;
    return context.with(contextOf(request), () => this.#options.begin(standby));
  }

  /** The other worker gets ready while this one decodes on, and goes on from the token after the last one logged here. */
  async #move(running: Running, target: string | null): Promise<void> {
    if (target === null || running.target !== null) return;
    const { log, logger } = this.#options;
    const { id } = running.job;
    running.target = target;
    running.obstacle = `${target} was not ready in time`;
    try {
      const prepare = { v: 1, kind: 'prepare', generation: id } as const;
      const { done, reason } = await commandWorker(log.connection, target, prepare, prepareMs);
      if (!done) throw new DependencyError('worker', `worker ${target}: ${reason}`);
      if (this.#options.running.get(id) === running) running.release.abort(this.#offerTo(id, target));
    } catch (error) {
      running.target = null;
      running.obstacle = `${target} did not get ready`;
      if (this.#options.running.get(id) !== running) return;
      logger.warn({ err: error, generation: id, target }, 'a generation stays where it is');
    }
  }

  /** The worker with most room for a generation of this one's model, or `to` where that has room. */
  #target(to: string | null): string | null {
    const { workerId, modelName, engine, fleet, running } = this.#options;
    const isAlike = ({ model, fingerprint }: WorkerStatus) =>
      model === modelName && fingerprint === engine.model.fingerprint;
    const comingTo = (other: string) => [...running.values()].filter(({ target }) => target === other).length;
    const room = ({ worker, slots, generations }: WorkerStatus) =>
      slots - generations.length - comingTo(worker);
    const [most] = fleet.running
      .filter((other) => other.worker !== workerId && isAlike(other))
      .filter((other) => room(other) > 0 && (to === null || other.worker === to))
      .sort((a, b) => room(b) - room(a));
    return most?.worker ?? null;
  }

  #offerTo(generation: string, target: string): HandedOver {
    const { log, logger } = this.#options;
    const refused = 'back to the queue: the offer was refused';
    return new HandedOver(target, async (lockToken) => {
      const command = { v: 1, kind: 'adopt', generation, lock_token: lockToken } as const;
      try {
        const { done, reason } = await commandWorker(log.connection, target, command);
        const outcome = done ? 'handed over' : `${refused}: ${reason}`;
        logger.info({ generation, target, reason: outcome }, 'released');
        return done;
      } catch (error) {
        logger.info({ generation, target, reason: refused, err: error }, 'released');
        return false;
      }
    });
  }
}
