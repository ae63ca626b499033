import { randomUUID } from 'node:crypto';
import { BatonError, NotFoundError, RequestError } from '@baton/errors';
import { type LogEntry, logStream, logSubject, readLogEntry, shardOf } from '@baton/protocol';
import { attributes, injectContext, recorderOf, withSpan } from '@baton/telemetry';
import {
  JetStreamApiCodes,
  JetStreamApiError,
  type JetStreamClient,
  type JetStreamManager,
  type StoredMsg,
} from '@nats-io/jetstream';
import { headers, type MsgHdrs } from '@nats-io/transport-node';
import { type Attributes, SpanKind } from '@opentelemetry/api';
import type { EntryHeaders } from './entry-headers.ts';
import { readRange } from './read-range.ts';
import type { TokenLogSettings } from './settings.ts';
import { StaleReadError, whileUnavailable } from './unavailable.ts';

/** Names one append however often it is sent, so that its sender knows it again after a lost acknowledgement. */
const appendIdHeader = 'Baton-Append-Id';
/** Where the generation's first entry is, so that reading a log never searches the stream. */
const firstSequenceHeader = 'Baton-First-Sequence';
/** Neither a span nor a context for every token, of which `decode` is one, nor for what `restore` says. */
const untracedKinds: ReadonlySet<LogEntry['kind']> = new Set(['tokens', 'prompt', 'restored']);
/** Entries that are read one by one, which takes less long, before the rest is asked for at once. */
const singleReads = 4;
/** Room that headers take out of the server's limit on a message. */
const headerBytes = 4096;

export interface StoredEntry {
  readonly entry: LogEntry;
  /** Position in the stream; grows within a generation, with gaps where other generations' entries lie. */
  readonly sequence: number;
  /** Position of the generation's entry 0. */
  readonly first: number;
  readonly appendId: string;
  /** The span that appended it, as a W3C `traceparent`; null where nothing was traced. */
  readonly traceparent: string | null;
  /** When it was stored, in milliseconds since the Unix epoch; null where it was not read from the stream. */
  readonly storedAt: number | null;
}

/** The last entry of a log; null where the log is empty. */
export type Top = Pick<StoredEntry, 'sequence' | 'first'> | null;

export type AppendResult =
  | { readonly stored: StoredEntry }
  /** Others appended first: what they appended, in order; at least one entry. */
  | { readonly conflict: StoredEntry[] };

/** Reads and appends entries of single generations. Everything here waits out short outages; see `whileUnavailable`. */
export class LogStore {
  readonly #client: JetStreamClient;
  readonly #manager: JetStreamManager;
  readonly #settings: TokenLogSettings;
  readonly #appendSeconds = recorderOf('logAppend');
  /** Largest encoded entry the server takes. */
  readonly maxEntryBytes: number;

  constructor(
    client: JetStreamClient,
    manager: JetStreamManager,
    settings: TokenLogSettings,
    maxPayload: number,
  ) {
    this.#client = client;
    this.#manager = manager;
    this.#settings = settings;
    this.maxEntryBytes = maxPayload - headerBytes;
  }

  /**
   * Appends `entry` on top of `top` and nowhere else. However often it has to be sent, it is stored at most once.
   * Throws `RequestError` where it is larger than the server takes, `DependencyError` where NATS stays away: whether
   * the entry was stored is then unknown.
   */
  async append(id: string, entry: LogEntry, top: Top): Promise<AppendResult> {
    const subject = this.#subject(id);
    const data = new TextEncoder().encode(JSON.stringify(entry));
    if (data.length > this.maxEntryBytes) {
      throw new RequestError(
        'request_too_large',
        `the ${entry.kind} entry of ${id} takes ${data.length} bytes; NATS is set to take ${this.maxEntryBytes} (max_payload)`,
      );
    }
    const appendId = randomUUID();
    const isTraced = !untracedKinds.has(entry.kind);
    const start = performance.now();
    const expect = { lastSubjectSequence: top?.sequence ?? 0 };
    const attempt = async (): Promise<AppendResult> => {
      try {
        const header = entryHeaders(appendId, top);
        if (isTraced) injectContext(header);
        const timeout = this.#settings.requestTimeoutMs;
        const { seq } = await this.#client.publish(subject, data, { headers: header, expect, timeout });
        this.#appendSeconds((performance.now() - start) / 1000);
        return {
          stored: {
            entry,
            sequence: seq,
            first: top?.first ?? seq,
            appendId,
            traceparent: isTraced ? traceparentOf(header) : null,
            storedAt: null,
          },
        };
      } catch (error) {
        if (!isWrongLastSequence(error)) throw error;
        return await this.#explainConflict(id, appendId, top);
      }
    };
    const append = () => whileUnavailable(`append to ${subject}`, attempt, this.#settings);
    if (!isTraced) return append();
    return withSpan(
      `append ${entry.kind}`,
      { kind: SpanKind.PRODUCER, attributes: spanAttributes(id) },
      append,
    );
  }

  async #explainConflict(id: string, appendId: string, top: Top): Promise<AppendResult> {
    const between: StoredEntry[] = [];
    for await (const entry of this.entriesAfter(id, top)) between.push(entry);
    const [directlyOnTop] = between;
    if (directlyOnTop === undefined) {
      // Asked of the stream's leader, which lags behind nobody.
      const query = { last_by_subj: this.#subject(id) };
      if (top !== null && !(await this.#manager.streams.getMessage(this.#stream(id), query))) throw gone(id);
      throw new StaleReadError(`the log of ${id} cannot be read to its end`);
    }
    return directlyOnTop.appendId === appendId ? { stored: directlyOnTop } : { conflict: between };
  }

  /** Takes all of a generation's entries but the last one out of the stream. */
  async deleteAllButLast(id: string): Promise<void> {
    await whileUnavailable(
      `delete the log of ${id}`,
      () => this.#manager.streams.purge(this.#stream(id), { filter: this.#subject(id), keep: 1 }),
      this.#settings,
    );
  }

  /** Whether entry 0, which lies at `first`, is still there. */
  async hasBeginning(id: string, first: number): Promise<boolean> {
    return (await this.#get(id, { seq: first, next_by_subj: this.#subject(id) }))?.sequence === first;
  }

  /** The last entry; null where the log is empty. */
  async last(id: string, signal?: AbortSignal): Promise<StoredEntry | null> {
    return this.#get(id, { last_by_subj: this.#subject(id) }, signal);
  }

  /**
   * Entries on top of `top`, in order, up to the one that is last when the iteration starts. Throws `NotFoundError`
   * where the log's beginning has expired or was deleted.
   */
  async *entriesAfter(id: string, top: Top, signal?: AbortSignal): AsyncGenerator<StoredEntry> {
    const last = await this.last(id, signal);
    if (last === null || last.sequence <= (top?.sequence ?? 0)) return;
    let from = top === null ? last.first : top.sequence + 1;
    for (let reads = 0; from < last.sequence; reads++) {
      if (reads === singleReads) {
        for await (const next of this.#range(id, from, last.sequence, signal)) {
          yield next;
          if (next.sequence === last.sequence) return;
          from = next.sequence + 1;
        }
      }
      const next = await this.#get(id, { seq: from, next_by_subj: this.#subject(id) }, signal);
      if (next === null || (top === null && from === last.first && next.sequence !== from)) {
        throw gone(id);
      }
      if (next.sequence >= last.sequence) break;
      yield next;
      from = next.sequence + 1;
    }
    yield last;
  }

  /** Reads an entry out of a message from the stream or from the live feed. Throws `MessageError`. */
  parse(
    id: string,
    sequence: number,
    data: Uint8Array,
    header: EntryHeaders,
    storedAt: number | null = null,
  ): StoredEntry {
    return {
      entry: readLogEntry(data, `the log of ${id} at ${sequence}`),
      sequence,
      first: Number(header.get(firstSequenceHeader)) || sequence,
      appendId: header.get(appendIdHeader),
      traceparent: traceparentOf(header),
      storedAt,
    };
  }

  /** Ends early where it fails: what is left is then read one by one, which waits out an outage. */
  async *#range(
    id: string,
    from: number,
    to: number,
    signal?: AbortSignal,
  ): AsyncGenerator<StoredEntry, void> {
    const range = { stream: this.#stream(id), subject: this.#subject(id), from, to };
    const messages = readRange(this.#client, range);
    try {
      for (let next = await messages.next(); !next.done; next = await messages.next()) {
        signal?.throwIfAborted();
        const { seq, data, headers: header = headers(), time } = next.value;
        yield this.parse(id, seq, data, header, time.getTime());
      }
    } catch (error) {
      if (error instanceof BatonError || signal?.aborted) throw error;
    } finally {
      await messages.return();
    }
  }

  async #get(
    id: string,
    query: { last_by_subj: string } | { seq: number; next_by_subj: string },
    signal?: AbortSignal,
  ): Promise<StoredEntry | null> {
    const attempt = (): Promise<StoredMsg | null> => this.#manager.direct.getMessage(this.#stream(id), query);
    const { deadlineMs } = this.#settings;
    const message = await whileUnavailable(`read the log of ${id}`, attempt, { deadlineMs, signal });
    return message && this.parse(id, message.seq, message.data, message.header, message.time.getTime());
  }

  #stream(id: string): string {
    return logStream(shardOf(id, this.#settings.shards));
  }

  #subject(id: string): string {
    return logSubject(shardOf(id, this.#settings.shards), id);
  }
}

/** Of a log whose entries, or the first of them, are there no longer. */
export function gone(id: string): NotFoundError {
  return new NotFoundError('response_not_found', `the log of ${id} has expired or was deleted`);
}

function entryHeaders(appendId: string, top: Top): MsgHdrs {
  const header = headers();
  header.set(appendIdHeader, appendId);
  if (top !== null) header.set(firstSequenceHeader, String(top.first));
  return header;
}

function traceparentOf(header: EntryHeaders): string | null {
  return header.get('traceparent') || null;
}

function isWrongLastSequence(error: unknown): boolean {
  return (
    error instanceof JetStreamApiError &&
    (error.code === JetStreamApiCodes.StreamWrongLastSequence ||
      error.code === JetStreamApiCodes.StreamWrongLastSequenceUnknown)
  );
}

function spanAttributes(id: string): Attributes {
  return {
    [attributes.messagingSystem]: 'nats',
    [attributes.messagingOperation]: 'send',
    [attributes.messagingDestination]: 'baton.log',
    [attributes.messagingMessageId]: id,
  };
}
