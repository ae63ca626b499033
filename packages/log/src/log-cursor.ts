import { applyEntry, emptyLogState, type LogEntry, type LogState } from '@baton/protocol';
import type { LogStore, StoredEntry, Top } from './log-store.ts';

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

  /** Reads what the stream holds on top, entry by entry. Throws `NotFoundError` where the beginning has expired. */
  async *readOn(signal?: AbortSignal): AsyncGenerator<LogEntry> {
    for await (const stored of this.#store.entriesAfter(this.state.generationId, this.top, signal)) {
      yield this.advance(stored);
    }
  }

  async readToEnd(): Promise<this> {
    for await (const _ of this.readOn());
    return this;
  }
}
