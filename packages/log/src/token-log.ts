import { ConfigurationError, type ErrorCode, FencedError, NotFoundError } from '@baton/errors';
import {
  type GenerationJob,
  isTerminal,
  type LogEntry,
  type LogEntryOf,
  type LogState,
  liveSubject,
  shardOf,
} from '@baton/protocol';
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import { FollowedLog } from './followed-log.ts';
import { LiveFeed } from './live-feed.ts';
import { LogCursor } from './log-cursor.ts';
import { LogStore } from './log-store.ts';
import { LogSubscription } from './log-subscription.ts';
import { LogWriter } from './log-writer.ts';
import { connectNats } from './nats-connection.ts';
import { type Look, OpenGenerations } from './open-generations.ts';
import { announceReader, hasReaders } from './readers.ts';
import { defaultLogSettings, type TokenLogSettings } from './settings.ts';
import { ensureStreams } from './streams.ts';
import { whileUnavailable } from './unavailable.ts';

const defaultMaxPayload = 1024 * 1024;

/** What a claim says beside the worker's name, and what it depends on. */
export interface ClaimOptions extends Pick<LogEntryOf<'claimed'>, 'process' | 'fingerprint'> {
  readonly followed?: FollowedLog | null;
  /** Looks at what the claim would lie on top of. */
  readonly mayClaim?: (state: Readonly<LogState>) => boolean;
}

/** Who had a generation before: it has released it, or was lost. */
export interface FormerOwner extends LogEntryOf<'claimed'> {
  readonly hasReleased: boolean;
}

/**
 * The token log: one append-only, fenced log for each generation on NATS JetStream, and the live feed of what is
 * stored. Every append names the entry it goes on top of (expected-last-subject-sequence), so a worker that lost its
 * generation cannot add to it, and no clock is involved. Methods wait out short outages of NATS and throw
 * `DependencyError` for longer ones.
 */
export class TokenLog {
  readonly connection: NatsConnection;
  readonly #ownsConnection: boolean;
  readonly #settings: TokenLogSettings;
  readonly #store: LogStore;
  readonly #open: OpenGenerations;

  private constructor(
    connection: NatsConnection,
    ownsConnection: boolean,
    store: LogStore,
    open: OpenGenerations,
    settings: TokenLogSettings,
  ) {
    this.connection = connection;
    this.#ownsConnection = ownsConnection;
    this.#store = store;
    this.#open = open;
    this.#settings = settings;
  }

  /**
   * Opens the log over `nats`, a URL or a connection that stays the caller's, and makes its streams where they are
   * missing, unless it is `readOnly`. Throws `ConfigurationError` where NATS runs without JetStream or its streams cannot be as `settings` say.
   */
  static async open(
    nats: NatsConnection | string,
    overrides: Partial<TokenLogSettings> = {},
    { readOnly = false }: { readonly readOnly?: boolean } = {},
  ): Promise<TokenLog> {
    const settings = { ...defaultLogSettings, ...overrides };
    const owned = typeof nats === 'string';
    const connection = owned ? await connectNats(nats, 'baton-log') : nats;
    try {
      const options = { timeout: settings.requestTimeoutMs };
      const manager = await jetstreamManager(connection, { ...options, checkAPI: false });
      // A server without JetStream is fine where others of its cluster have it.
      if (connection.info?.jetstream !== true && !(await answers(manager.getAccountInfo()))) {
        throw new ConfigurationError(
          `NATS at ${connection.getServer()} runs without JetStream; start nats-server with -js`,
        );
      }
      const client = jetstream(connection, options);
      const open = new OpenGenerations(client, manager, settings);
      const ensure = async () => {
        await ensureStreams(manager, settings);
        await open.ensure();
      };
      if (!readOnly) await whileUnavailable('open the token log', ensure, settings);
      const maxPayload = connection.info?.max_payload ?? defaultMaxPayload;
      const store = new LogStore(client, manager, settings, maxPayload);
      return new TokenLog(connection, owned, store, open, settings);
    } catch (error) {
      if (owned) await connection.close();
      throw error;
    }
  }

  /** Closes the connection, where this log opened it. Subscriptions and writers fail from then on. */
  async close(): Promise<void> {
    if (this.#ownsConnection) await this.connection.close();
  }

  /**
   * Appends entry 0. That it is there already, put by the gateway or by a worker, is fine. Throws `RequestError`
   * (`request_too_large`) where NATS does not take an entry of the job's size.
   */
  async appendQueued(job: GenerationJob): Promise<void> {
    await Promise.all([this.#store.append(job.id, queuedEntry(job), null), this.#open.add(job.id)]);
  }

  /**
   * Has somebody look after each generation that has not ended: `look` is asked about it every `everyMs`, here or in one
   * other process that watches, until it says that it has. Gives a function that ends it.
   */
  watchOpen(look: Look, everyMs: number): Promise<() => Promise<void>> {
    return this.#open.watch(look, everyMs);
  }

  /**
   * Makes `worker` the owner of the generation: appends `claimed` with the next epoch on top of whatever is there,
   * after entry 0 where that is missing. From then on appends of earlier owners fail. Gives everything the log says so
   * far, the claim included, and the `former` owner, if there was one. `writer` is null where the generation has ended, which
   * is then not claimed. Where `followed` is given, nothing but what that has not read yet is read, and who has claimed in
   * between keeps it: `writer` is null then, too, as where `mayClaim` says no. Throws `NotFoundError` where it was deleted.
   */
  async claim(
    job: GenerationJob,
    worker: string,
    { followed = null, mayClaim = () => true, ...claimant }: ClaimOptions = {},
  ): Promise<{ state: LogState; writer: LogWriter | null; former: FormerOwner | null }> {
    // What a followed log has not read yet, the append meets as a conflict.
    const cursor = followed?.stop() ?? (await new LogCursor(this.#store, job.id).readToEnd());
    const { state } = cursor;
    while (state.terminal === null && (state.job === null || mayClaim(state))) {
      const entry: LogEntry =
        state.job === null
          ? queuedEntry(job)
          : { v: 1, kind: 'claimed', epoch: state.epoch + 1, worker, ...claimant };
      if (entry.kind === 'queued') await this.#open.add(job.id);
      const former = state.lastClaim && { ...state.lastClaim, hasReleased: state.owner === null };
      const result = await this.#store.append(job.id, entry, cursor.top);
      if ('conflict' in result) {
        for (const stored of result.conflict) await cursor.meet(stored);
        if (followed !== null && result.conflict.some(({ entry }) => entry.kind === 'claimed')) break;
      } else {
        cursor.advance(result.stored);
        if (entry.kind === 'claimed') {
          return { state, writer: new LogWriter(this.#store, state, cursor.top), former };
        }
      }
    }
    return { state, writer: null, former: null };
  }

  /** Follows a log that is about to be claimed here. Whoever gets it claims, or stops it. */
  async follow(generationId: string): Promise<FollowedLog> {
    const cursor = new LogCursor(this.#store, generationId);
    return FollowedLog.start(cursor, await this.#subscribe(cursor, () => {}));
  }

  /**
   * Asks the generation's owner, present or future, to stop. `finished`: it has ended already. `unknown`: it has no
   * log, or no longer.
   */
  async requestCancel(generationId: string): Promise<'requested' | 'finished' | 'unknown'> {
    let last = await this.#store.last(generationId);
    while (last !== null) {
      if (isTerminal(last.entry)) return 'finished';
      if (last.entry.kind === 'cancel_requested') return 'requested';
      const result = await this.#store.append(generationId, { v: 1, kind: 'cancel_requested' }, last);
      if ('stored' in result) return 'requested';
      last = result.conflict.at(-1) ?? null;
    }
    return 'unknown';
  }

  /**
   * Ends a generation that nobody will run any more with an `error` entry. `by` claims it first, so an owner that is
   * still alive is fenced like after any takeover. Throws `FencedError` where a worker claims in between: the
   * generation is then in good hands.
   */
  async appendError(
    generationId: string,
    error: { readonly code: ErrorCode; readonly message: string },
    by: string,
  ): Promise<'appended' | 'finished' | 'unknown'> {
    const { job } = (await this.read(generationId)) ?? {};
    if (!job) return 'unknown';
    const { writer } = await this.claim(job, by);
    if (writer === null) return 'finished';
    await writer.append({ kind: 'error', code: error.code, message: error.message });
    return 'appended';
  }

  /**
   * Ends a generation that no worker has, or will get, as cancelled. `by` claims it first. Throws `FencedError` where a worker
   * claims in between, which then ends it.
   */
  async appendCancelled(job: GenerationJob, by: string): Promise<'appended' | 'finished'> {
    const { state, writer } = await this.claim(job, by);
    const usage = {
      prompt_tokens: job.prompt.length,
      cached_tokens: state.cachedTokens,
      completion_tokens: state.tokens.length,
    };
    await writer?.append({ kind: 'finish', reason: 'cancelled', usage });
    return writer ? 'appended' : 'finished';
  }

  /**
   * Ends a generation with an `error` entry, unless a worker has claimed it: then false, and nothing changes. It does not
   * fence, so a worker that claims at the same moment either comes first or finds the end.
   */
  async failUnclaimed(
    generationId: string,
    { code, message }: { readonly code: ErrorCode; readonly message: string },
  ): Promise<boolean> {
    const cursor = await new LogCursor(this.#store, generationId).readToEnd();
    const { state } = cursor;
    while (state.job !== null && state.terminal === null && state.epoch === 0) {
      const place = { epoch: 0, sequence_number: state.nextSequenceNumber };
      const entry: LogEntry = { v: 1, kind: 'error', ...place, code, message };
      const result = await this.#store.append(generationId, entry, cursor.top);
      if ('stored' in result) return true;
      for (const stored of result.conflict) await cursor.meet(stored);
    }
    return false;
  }

  /** Ends a generation as cancelled, unless it has ended, whoever runs it or is about to. */
  async end(job: GenerationJob, by: string): Promise<'appended' | 'finished'> {
    for (;;) {
      try {
        return await this.appendCancelled(job, by);
      } catch (error) {
        if (!(error instanceof FencedError)) throw error;
      }
    }
  }

  /**
   * Forgets a generation that has ended. Its end stays in the stream, without anything before it: there a job that still waits
   * for a worker finds that it is not to be run.
   */
  async delete(generationId: string): Promise<void> {
    await this.#store.deleteAllButLast(generationId);
  }

  /** What the stored entries say now; null where the generation has no log, or no longer, or was deleted. */
  async read(generationId: string): Promise<LogState | null> {
    try {
      const { state } = await new LogCursor(this.#store, generationId).readToEnd();
      return state.job === null ? null : state;
    } catch (error) {
      if (error instanceof NotFoundError) return null;
      throw error;
    }
  }

  /** Whether anybody, in any process, follows the generation and has said so. */
  hasReaders(generationId: string): Promise<boolean> {
    return hasReaders(this.connection, generationId);
  }

  /**
   * The stored entries up to now, with when each was stored (milliseconds since the Unix epoch); none where the generation
   * has no log. Throws `NotFoundError` where its beginning has expired.
   */
  async *history(generationId: string): AsyncGenerator<{ readonly entry: LogEntry; readonly at: number }> {
    for await (const { entry, storedAt } of this.#store.entriesAfter(generationId, null)) {
      if (storedAt !== null) yield { entry, at: storedAt };
    }
  }

  /**
   * Follows a generation, also one that has no entry yet. When this resolves its live feed is active, so that a gateway
   * that subscribes before it adds the job misses nothing and waits for nothing. `announce` has it count for `hasReaders`.
   */
  async subscribe(
    generationId: string,
    { announce = false }: { readonly announce?: boolean } = {},
  ): Promise<LogSubscription> {
    const absent = announce ? announceReader(this.connection, generationId) : () => {};
    return this.#subscribe(new LogCursor(this.#store, generationId), absent);
  }

  async #subscribe(cursor: LogCursor, absent: () => void): Promise<LogSubscription> {
    const { generationId } = cursor.state;
    const subject = liveSubject(shardOf(generationId, this.#settings.shards), generationId);
    const feed = new LiveFeed(this.connection, subject, this.#settings);
    try {
      await feed.start();
    } catch (error) {
      absent();
      throw error;
    }
    return new LogSubscription(cursor, feed, this.#store, absent);
  }
}

function answers(request: Promise<unknown>): Promise<boolean> {
  return request.then(
    () => true,
    () => false,
  );
}

function queuedEntry(job: GenerationJob): LogEntry {
  return { v: 1, kind: 'queued', epoch: 0, sequence_number: 0, job };
}
