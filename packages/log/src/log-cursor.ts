import { LogCorruptedError } from '@baton/errors';
import { applyEntry, emptyLogState, type LogEntry, type LogState } from '@baton/protocol';
import { gone, type LogStore, type StoredEntry, type Top } from './log-store.ts';

/** How far a log has been read, and what it says up to there. */
export class LogCursor {
  readonly state: LogState;
  top: Top = null;
  readonly #store: LogStore;

  constructor(store: LogStore, generationId: string) {
    this.#store = store;
    this.state = emptyLogState(generationId);
  }

  /** Takes the next entry in. Throws `LogCorruptedError` where it breaks the log's invariants. */
  advance(stored: StoredEntry): LogEntry {
    const { entry, traceparent } = stored;
    applyEntry(this.state, entry);
    if (entry.kind === 'queued') this.state.traces.request = traceparent;
    if (entry.kind === 'claimed' && traceparent !== null) this.state.traces.attempts.push(traceparent);
    this.top = stored;
    return entry;
  }

  /** The same of an entry that was read from the stream. Throws `NotFoundError` where those before it were deleted meanwhile. */
  async meet(stored: StoredEntry): Promise<LogEntry> {
    try {
      return this.advance(stored);
    } catch (error) {
      const { generationId } = this.state;
      const isGap = error instanceof LogCorruptedError;
      if (isGap && !(await this.#store.hasBeginning(generationId, stored.first))) throw gone(generationId);
      throw error;
    }
  }

  /** Reads what the stream holds on top, entry by entry. Throws `NotFoundError` where the beginning has expired or was deleted. */
  async *readOn(signal?: AbortSignal): AsyncGenerator<LogEntry> {
    for await (const stored of this.#store.entriesAfter(this.state.generationId, this.top, signal)) {
      yield await this.meet(stored);
    }
  }

  async readToEnd(): Promise<this> {
    for await (const _ of this.readOn());
    return this;
  }
}
