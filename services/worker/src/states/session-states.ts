import { type SessionState, type StateLayout, type StateRequest, tokensOf, trimState } from '@baton/engine';
import type { GenerationJob, LogState } from '@baton/protocol';
import { pageTokens, type SaveResult, type SnapshotService, SnapshotWriter } from '@baton/snapshot';
import { attributes, count } from '@baton/telemetry';
import { RestoreCosts } from './restore-costs.ts';
import { WarmStates } from './warm-states.ts';

/** Where the state came from that a sequence goes on from. */
export interface Restored {
  readonly source: 'warm' | 'snapshot' | 'none';
  /** Whose it was: of the generation itself after its worker was lost, or of the turn before. Null where there is none. */
  readonly of: 'generation' | 'parent' | null;
  /** Why this and nothing cheaper. */
  readonly why: string;
  readonly tokens: number;
  readonly bytes: number;
  readonly milliseconds: number;
  readonly state: SessionState;
}

export interface SessionStatesOptions {
  /** Null: snapshots are neither saved nor restored. */
  readonly snapshots: SnapshotService | null;
  readonly layout: StateLayout;
  /** Tokens between two snapshots. */
  readonly every: number;
  /** Bytes of states of ended turns that are kept in memory. */
  readonly warmBytes: number;
  readonly onSave?: (id: string, result: SaveResult) => void;
}

/** How long `finish` waits for the last snapshot: computing the state again is always possible. */
const saveMs = 500;

/** What a worker knows of its sessions' states: warm ones, stored ones, and those of what runs. */
export class SessionStates {
  readonly costs = new RestoreCosts();
  readonly #options: SessionStatesOptions;
  readonly #warm: WarmStates;

  constructor(options: SessionStatesOptions) {
    this.#options = options;
    this.#warm = new WarmStates(options.warmBytes);
  }

  /** Bytes of the states of ended turns in memory. */
  get warmBytes(): number {
    return this.#warm.bytes;
  }

  /** The cheapest way to the state of `job` after what its log says: as many tokens as can be had, and at least one left. */
  async restore(job: GenerationJob, { epoch, tokens }: LogState): Promise<Restored> {
    const all = [...job.prompt, ...tokens];
    const usable = (state: SessionState) => tokensOf(state) > 0 && tokensOf(state) < all.length;
    const reasons: string[] = [];
    // Every prompt token that is to be scored has to be fed.
    if (job.sampling.prompt_logprobs !== null) return nothing('the prompt is to be scored');
    if (epoch > 1) {
      const own = await this.#fetch(job, job.id, 'generation', all, reasons);
      if (own && usable(own.state)) return own;
    }
    if (job.parent) {
      const start = performance.now();
      const state = this.#warm.get(warmKey(job.tenant, job.parent.id));
      if (state && usable(state))
        return found('warm', 'parent', state, { bytes: 0, start, why: 'it is in memory' });
      const parent = await this.#fetch(
        job,
        job.parent.id,
        'parent',
        all.slice(0, job.parent.tokens),
        reasons,
      );
      if (parent && usable(parent.state)) return parent;
    }
    return nothing(reasons.join('; ') || 'it is new');
  }

  async #fetch(
    job: GenerationJob,
    session: string,
    of: 'generation' | 'parent',
    tokens: readonly number[],
    reasons: string[],
  ): Promise<Restored | null> {
    const { snapshots } = this.#options;
    if (!snapshots) return null;
    const { fetch, why } = this.costs.decide(tokens.length);
    if (!fetch) {
      reasons.push(why);
      return null;
    }
    const start = performance.now();
    const next = { tenant: job.tenant, session: job.id };
    const result = await snapshots.restore({ tenant: job.tenant, session }, tokens, next);
    if (result.kind === 'refused') count('restoreRefusals', 1, { [attributes.errorType]: result.reason });
    if (result.kind !== 'restored') {
      reasons.push(
        result.kind === 'none'
          ? `${of} has no snapshot`
          : `snapshot of ${of}: ${result.reason}: ${result.message}`,
      );
      return null;
    }
    this.costs.restored(performance.now() - start);
    return found('snapshot', of, result.state, { bytes: result.bytes, start, why });
  }

  /** Follows a running generation, which goes on from `restored`. */
  track(job: GenerationJob, restored: Restored): StateTracker {
    const { snapshots, onSave } = this.#options;
    const ref = { tenant: job.tenant, session: job.id };
    const writer = snapshots && new SnapshotWriter(snapshots, ref, (result) => onSave?.(job.id, result));
    return new StateTracker({ ...this.#options, job, state: restored.state, writer, warm: this.#warm });
  }

  /** Fetches what is stored of a generation that is about to come here. */
  async prefetch(tenant: string, session: string): Promise<void> {
    await this.#options.snapshots?.prefetch({ tenant, session });
  }

  /** Takes what is kept of a generation out of memory and out of the store. */
  async delete(tenant: string, id: string): Promise<void> {
    this.#warm.delete(warmKey(tenant, id));
    await this.#options.snapshots?.delete({ tenant, session: id });
  }

  async close(): Promise<void> {
    await this.#options.snapshots?.close();
  }
}

interface TrackerOptions extends SessionStatesOptions {
  readonly job: GenerationJob;
  readonly state: SessionState;
  readonly writer: SnapshotWriter | null;
  readonly warm: WarmStates;
}

/** The state of one running generation as its engine tells it. */
export class StateTracker {
  readonly #options: TrackerOptions;
  #state: SessionState;

  constructor(options: TrackerOptions) {
    this.#options = options;
    this.#state = options.state;
  }

  /** What to ask the engine for. */
  get request(): StateRequest {
    const tokens = tokensOf(this.#state);
    return { every: this.#options.every, pageTokens, from: tokens - (tokens % pageTokens) };
  }

  /** How many tokens the newest state remembers. */
  get tokens(): number {
    return tokensOf(this.#state);
  }

  /** How many tokens the newest stored state remembers. */
  get stored(): number {
    return this.#options.writer?.stored ?? 0;
  }

  /** Takes the next delta; `logged` resolves once the log holds all of `tokens`, and only then is it saved. */
  add(delta: SessionState[number], tokens: readonly number[], logged: Promise<void>): Promise<void> {
    this.#state = trimState([...this.#state, delta], this.#options.layout);
    const state = this.#state;
    return logged.then(
      () => this.#options.writer?.add(state, tokens),
      // The log is lost, and with it the generation.
      () => {},
    );
  }

  /** The turn is over: keeps its state for the next one, where there may be one. */
  async finish(): Promise<void> {
    const { job, warm, writer, snapshots } = this.#options;
    const ref = { tenant: job.tenant, session: job.id };
    if (job.continuable) {
      warm.set(warmKey(job.tenant, job.id), this.#state);
      await writer?.flush(saveMs);
      snapshots?.release(ref);
    } else {
      void writer?.flush(saveMs).then(() => snapshots?.delete(ref));
    }
  }

  /** Another worker goes on: resolves when it can find the state, or not in time. */
  async handOver(): Promise<void> {
    const { job, writer, snapshots } = this.#options;
    await writer?.flush(saveMs);
    snapshots?.release({ tenant: job.tenant, session: job.id });
  }
}

function found(
  source: 'warm' | 'snapshot',
  of: 'generation' | 'parent',
  state: SessionState,
  { bytes, start, why }: { readonly bytes: number; readonly start: number; readonly why: string },
): Restored {
  return { source, of, why, tokens: tokensOf(state), bytes, milliseconds: performance.now() - start, state };
}

function warmKey(tenant: string, id: string): string {
  return `${tenant} ${id}`;
}

function nothing(why: string): Restored {
  return { source: 'none', of: null, why, tokens: 0, bytes: 0, milliseconds: 0, state: [] };
}
