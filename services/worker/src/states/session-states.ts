import { type SessionState, type StateLayout, tokensOf } from '@baton/engine';
import type { GenerationJob, LogState } from '@baton/protocol';
import { type RestoreResult, type SaveResult, type SnapshotService, SnapshotWriter } from '@baton/snapshot';
import { attributes, count } from '@baton/telemetry';
import { RestoreCosts } from './restore-costs.ts';
import { sharedPrefixOf } from './shared-prefix.ts';
import { StateTracker } from './state-tracker.ts';
import { WarmStates, warmKey } from './warm-states.ts';

/** Whose a state is: that of the generation itself, whose worker was lost, of the turn before, or of a prompt's shared beginning. */
export type StateOwner = 'generation' | 'parent' | 'prefix';

/** Where the state came from that a sequence goes on from. */
export interface Restored {
  readonly source: 'warm' | 'snapshot' | 'none';
  readonly of: StateOwner | null;
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
  /** Of the engine's model. */
  readonly fingerprint: string;
  /** Tokens between two snapshots. */
  readonly every: number;
  /** Bytes of states of ended turns that are kept in memory. */
  readonly warmBytes: number;
  readonly onSave?: (id: string, result: SaveResult) => void;
  /** Hears of each snapshot that a generation could have gone on from, and why it does not. */
  readonly onRefused?: (id: string, refusal: RestoreResult & { kind: 'refused' }) => void;
}

/** How often a log is read again that what its owner has stored is ahead of: it may store once more meanwhile. */
const rereads = 5;

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

  /**
   * The cheapest way to the state of `job` after what its log says: as many tokens as can be had, and at least one left. Where an
   * owner still runs it, what that has stored may be ahead of the log as it was read: `readOn` gives all output tokens by now.
   */
  async restore(
    job: GenerationJob,
    { epoch, tokens }: Pick<LogState, 'epoch' | 'tokens'>,
    readOn?: () => Promise<readonly number[]>,
  ): Promise<Restored> {
    let all = [...job.prompt, ...tokens];
    const usable = (state: SessionState) => tokensOf(state) > 0 && tokensOf(state) < all.length;
    const reasons: string[] = [];
    // Every prompt token that is to be scored has to be fed.
    if (job.sampling.prompt_logprobs !== null) return nothing('the prompt is to be scored');
    const prefix = sharedPrefixOf(job, this.#options.fingerprint);
    const candidates: Candidate[] = [
      ...(epoch > 1 ? [{ of: 'generation', session: job.id, tokens: all } as const] : []),
      ...(job.parent
        ? [{ of: 'parent', session: job.parent.id, tokens: all.slice(0, job.parent.tokens) } as const]
        : []),
      ...(prefix ? [{ of: 'prefix', ...prefix } as const] : []),
    ];
    for (const candidate of candidates) {
      const longer = readOn && (async () => (all = [...job.prompt, ...(await readOn())]));
      const restored = this.#inMemory(job, candidate) ?? (await this.#fetch(job, candidate, reasons, longer));
      if (!restored) continue;
      if (!usable(restored.state)) {
        reasons.push(`the state of ${candidate.of} leaves nothing to be fed`);
        continue;
      }
      // A turn is continued under another name, which begins its own time; a shared beginning keeps its one.
      if (candidate.of === 'prefix') {
        void this.#options.snapshots?.renew({ tenant: job.tenant, session: candidate.session });
      }
      return restored;
    }
    return nothing(reasons.join('; ') || 'it is new');
  }

  #inMemory({ tenant }: GenerationJob, { of, session }: Candidate): Restored | null {
    const start = performance.now();
    const state = this.#warm.get(warmKey(tenant, session));
    return state && found('warm', of, state, { bytes: 0, start, why: 'it is in memory' });
  }

  async #fetch(
    job: GenerationJob,
    { of, session, tokens }: Candidate,
    reasons: string[],
    longer?: () => Promise<readonly number[]>,
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
    const ref = { tenant: job.tenant, session };
    let known = tokens;
    let result = await snapshots.restore(ref, known, next);
    for (let again = 0; again < rereads && longer && of === 'generation' && isAhead(result, known); again++) {
      known = await longer();
      result = await snapshots.restore(ref, known, next);
    }
    if (result.kind === 'refused') {
      count('restoreRefusals', 1, { [attributes.errorType]: result.reason });
      this.#options.onRefused?.(job.id, result);
    }
    if (result.kind !== 'restored') {
      reasons.push(
        result.kind === 'none'
          ? `${of} has no snapshot`
          : `snapshot of ${of}: ${result.reason}: ${result.message}`,
      );
      return null;
    }
    this.costs.restored(performance.now() - start);
    if (of === 'prefix') this.#warm.set(warmKey(job.tenant, session), result.state);
    return found('snapshot', of, result.state, { bytes: result.bytes, start, why });
  }

  /** Follows a running generation, which goes on from `restored`. */
  track(job: GenerationJob, restored: Restored): StateTracker {
    const { snapshots, onSave } = this.#options;
    const ref = { tenant: job.tenant, session: job.id };
    const writer = snapshots && new SnapshotWriter(snapshots, ref, (result) => onSave?.(job.id, result));
    const prefix = sharedPrefixOf(job, this.#options.fingerprint);
    return new StateTracker({
      ...this.#options,
      job,
      state: restored.state,
      prefix: prefix && restored.tokens < prefix.tokens.length ? prefix : null,
      writer,
      warm: this.#warm,
    });
  }

  /** Keeps nothing of a generation in memory. */
  forget({ tenant, id }: Pick<GenerationJob, 'tenant' | 'id'>): void {
    this.#warm.delete(warmKey(tenant, id));
  }

  /** Takes what is stored of a generation out of the store. */
  async delete({ tenant, id }: GenerationJob): Promise<void> {
    await this.#options.snapshots?.delete({ tenant, session: id });
  }

  async close(): Promise<void> {
    await this.#options.snapshots?.close();
  }
}

/** A state that may be there. */
interface Candidate {
  readonly of: StateOwner;
  readonly session: string;
  /** What it may remember. */
  readonly tokens: readonly number[];
}

/** Whether of the tokens as they are known none is left to be fed. */
function isAhead(result: RestoreResult, { length }: readonly number[]): boolean {
  return result.kind === 'restored'
    ? tokensOf(result.state) >= length
    : result.kind === 'refused' && result.reason === 'ahead';
}

function found(
  source: 'warm' | 'snapshot',
  of: StateOwner,
  state: SessionState,
  { bytes, start, why }: { readonly bytes: number; readonly start: number; readonly why: string },
): Restored {
  return { source, of, why, tokens: tokensOf(state), bytes, milliseconds: performance.now() - start, state };
}

function nothing(why: string): Restored {
  return { source: 'none', of: null, why, tokens: 0, bytes: 0, milliseconds: 0, state: [] };
}
