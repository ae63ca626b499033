import { type SessionState, type StateLayout, type StateRequest, tokensOf, trimState } from '@baton/engine';
import type { GenerationJob } from '@baton/protocol';
import { pageTokens, type SaveResult, type SnapshotService, type SnapshotWriter } from '@baton/snapshot';
import type { SharedPrefix } from './shared-prefix.ts';
import { type WarmStates, warmKey } from './warm-states.ts';

/** How long `finish` waits for the last snapshot: computing the state again is always possible. */
const saveMs = 500;

interface TrackerOptions {
  /** Null: snapshots are not saved. */
  readonly snapshots: SnapshotService | null;
  readonly layout: StateLayout;
  /** Tokens between two snapshots. */
  readonly every: number;
  readonly onSave?: (id: string, result: SaveResult) => void;
  readonly job: GenerationJob;
  /** What it goes on from. */
  readonly state: SessionState;
  /** The shared beginning of the prompt that is to be kept when its state is there. */
  readonly prefix: SharedPrefix | null;
  readonly writer: SnapshotWriter | null;
  readonly warm: WarmStates;
}

/** The state of one running generation as its engine tells it. */
export class StateTracker {
  /** Prompt and output tokens so far: whoever runs it says so. */
  tokens: number;
  readonly #options: TrackerOptions;
  #state: SessionState;
  #added: Promise<void> = Promise.resolve();
  #isDropped = false;

  constructor(options: TrackerOptions) {
    this.#options = options;
    this.#state = options.state;
    this.tokens = options.job.prompt.length;
  }

  /** What to ask the engine for. */
  get request(): StateRequest {
    const { job, every, prefix } = this.#options;
    const tokens = tokensOf(this.#state);
    const from = tokens - (tokens % pageTokens);
    return { every, atEnd: job.continuable, pageTokens, from, ...(prefix && { at: [prefix.tokens.length] }) };
  }

  /** How many tokens the newest state remembers that another worker could go on from. */
  get stored(): number {
    const { state, writer } = this.#options;
    return Math.max(tokensOf(state), writer?.stored ?? 0);
  }

  /**
   * Takes the next delta; `logged` resolves once the log holds all of `tokens`, and only then is it saved. Null: another owner
   * saves it.
   */
  add(delta: SessionState[number], tokens: readonly number[], logged: Promise<void> | null): Promise<void> {
    this.#state = trimState([...this.#state, delta], this.#options.layout);
    const state = this.#state;
    this.#share(state);
    const added = logged?.then(
      () => this.#options.writer?.add(state, tokens),
      // The log is lost, and with it the generation.
      () => {},
    );
    if (added) this.#added = added;
    return this.#added;
  }

  /** Keeps the state of the prompt's shared beginning for others, unless another generation here has done so meanwhile. */
  #share(state: SessionState): void {
    const { job, prefix, warm, snapshots, onSave } = this.#options;
    if (!prefix || tokensOf(state) !== prefix.tokens.length) return;
    const ref = { tenant: job.tenant, session: prefix.session };
    const key = warmKey(ref.tenant, ref.session);
    if (warm.get(key)) return;
    warm.set(key, state);
    void snapshots?.save(ref, state, prefix.tokens).then((result) => {
      snapshots.release(ref);
      // Another worker may have stored the same at the same time.
      if (result.kind === 'saved' || result.reason !== 'foreign_session') onSave?.(ref.session, result);
    });
  }

  /** The turn is over: keeps its state for the next one, where there may be one. */
  async finish(): Promise<void> {
    const { job, warm, writer } = this.#options;
    if (!job.continuable) return;
    warm.set(warmKey(job.tenant, job.id), this.#state);
    await writer?.flush(saveMs);
  }

  /** Nobody goes on from it. */
  drop(): void {
    const { writer } = this.#options;
    this.#isDropped = true;
    writer?.stop();
  }

  /** Nothing of it was saved here, or will be. */
  abandon(): void {
    const { job, snapshots } = this.#options;
    snapshots?.release({ tenant: job.tenant, session: job.id });
  }

  /** Another worker goes on: resolves when it can find the state, or not in time. */
  async handOver(): Promise<void> {
    await this.#options.writer?.flush(saveMs);
  }

  /**
   * Nothing more is added. Once nothing is being saved any more either, what was dropped is taken out of the store, and what
   * `isForgotten` says of then: a save may come after the end, which is another owner's where it has not `ended` here.
   */
  async close(isForgotten: () => Promise<boolean>, ended: boolean): Promise<void> {
    const { job, warm, writer, snapshots } = this.#options;
    const ref = { tenant: job.tenant, session: job.id };
    await this.#added;
    const isLate = !ended || writer?.isSaving;
    await writer?.settled();
    if (this.#isDropped || (isLate && (await isForgotten()))) {
      warm.delete(warmKey(job.tenant, job.id));
      await snapshots?.delete(ref);
    } else {
      snapshots?.release(ref);
    }
  }
}
