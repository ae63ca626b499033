import {
  checkSessionState,
  type EngineModel,
  type SessionState,
  type StateLayout,
  tokensOf,
} from '@baton/engine';
import { BatonError, MessageError } from '@baton/errors';
import { Codec } from './codec/codec.ts';
import type { CodecTier } from './codec/tiers.ts';
import {
  decodeManifest,
  encodeManifest,
  hashTokens,
  type Manifest,
  type PageEntry,
} from './format/manifest.ts';
import { pageKey } from './format/page.ts';
import { agedPages, coarsened, type Page, pagesOf, stateOf } from './pages.ts';
import { SnapshotRefusal } from './refusal.ts';
import type {
  RestoreResult,
  SaveReport,
  SaveResult,
  SessionRef,
  SnapshotService,
} from './snapshot-service.ts';
import type { SnapshotStore } from './stores/store.ts';

interface Known {
  readonly version: string | null;
  readonly pages: readonly PageEntry[];
}

export interface SnapshotsOptions {
  readonly store: SnapshotStore;
  readonly tier: CodecTier;
  readonly layout: StateLayout;
  readonly model: EngineModel;
}

/** Times to live are an hour at least. */
const renewMs = 600_000;
/** How often a save is tried whose pages others take away, and how often while a former owner still stores the session. */
const attempts = 5;

/** Encodes states into a store and back, on the thread that it is called on. */
export class Snapshots implements SnapshotService {
  readonly #options: SnapshotsOptions;
  readonly #codec: Codec;
  /** By tenant and session, what this process knows to be stored. */
  readonly #known = new Map<string, Known>();
  /** By tenant and session, when it was renewed last. */
  readonly #renewed = new Map<string, number>();

  constructor(options: SnapshotsOptions) {
    this.#options = options;
    this.#codec = new Codec(options.layout);
  }

  async save(ref: SessionRef, state: SessionState, tokens: readonly number[]): Promise<SaveResult> {
    const start = performance.now();
    try {
      const report = await this.#save(ref, state, tokens);
      return { kind: 'saved', ...report, milliseconds: performance.now() - start };
    } catch (error) {
      // What is stored is not certain any more.
      this.#known.delete(keyOf(ref));
      const reason =
        error instanceof SnapshotRefusal ? error.reason : error instanceof BatonError ? error.code : 'failed';
      return { kind: 'failed', reason, message: error instanceof Error ? error.message : String(error) };
    }
  }

  async #save(ref: SessionRef, state: SessionState, tokens: readonly number[]) {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#saveOnTop(ref, state, tokens);
      } catch (error) {
        const isGone = error instanceof SnapshotRefusal && error.reason === 'page_missing';
        if (!isGone || attempt === attempts) throw error;
        // Another session that had the same page has ended, and took it away: all are put again.
        this.#known.delete(keyOf(ref));
      }
    }
  }

  async #saveOnTop(ref: SessionRef, state: SessionState, tokens: readonly number[]) {
    const count = tokensOf(state);
    let known = this.#known.get(keyOf(ref)) ?? { version: await this.#behind(ref, count), pages: [] };
    for (let attempt = 1; ; attempt++) {
      const saved = await this.#put(ref, state, tokens, known);
      if (saved) return saved;
      if (attempt === attempts)
        throw new SnapshotRefusal('foreign_session', 'another worker stores this session, too');
      // Its owner of before had saves on their way when this one took over.
      known = { ...known, version: await this.#behind(ref, count) };
    }
  }

  /** Null where another version than the known one is stored. */
  async #put(
    ref: SessionRef,
    state: SessionState,
    tokens: readonly number[],
    { version, pages: old }: Known,
  ): Promise<Omit<SaveReport, 'milliseconds'> | null> {
    const { store, tier } = this.#options;
    const count = tokensOf(state);
    const aged = tier === 'compact' ? await this.#agedPages(ref, old, count) : [];
    const coarse = coarsened(old, aged, count, this.#codec);
    const { entries, fresh: encoded } = pagesOf(state, coarse.known, tier, this.#codec);
    const fresh = [...coarse.fresh, ...encoded];
    const missing = await store.missing(
      ref.tenant,
      entries.map(({ key }) => key),
    );
    const toStore = fresh.filter(({ entry }) => missing.has(entry.key));
    if (missing.size > toStore.length) {
      // Whoever replaced what is known took pages away with it.
      if (((await this.#readable(ref))?.version ?? null) !== version) return null;
      throw new SnapshotRefusal('page_missing', 'a page that was stored is gone');
    }
    const manifest: Manifest = {
      ...this.#identity(ref),
      tokens: count,
      tokenHash: hashTokens(tokens.slice(0, count)),
      pages: entries,
    };
    const bytes = encodeManifest(manifest);
    store.refuseWhatNeverFits({ bytes, pages: entries });
    await store.putPages(
      ref.tenant,
      toStore.map(({ entry, bytes }) => ({ key: entry.key, bytes })),
    );
    const next = await store.putManifest(ref.tenant, ref.session, { bytes, pages: entries }, version);
    if (next === null) return null;
    this.#known.set(keyOf(ref), { version: next, pages: entries });
    return {
      tokens: count,
      rawBytes: sum(entries, ({ rawBytes }) => rawBytes),
      storedBytes: bytes.length + sum(entries, ({ bytes }) => bytes),
      newBytes: bytes.length + sum(toStore, ({ bytes }) => bytes.length),
    };
  }

  /** One that the store has no more is left out, and so stays as it is known. Throws `SnapshotRefusal` for damaged ones. */
  async #agedPages({ tenant }: SessionRef, known: readonly PageEntry[], tokens: number): Promise<Page[]> {
    const { store, layout } = this.#options;
    const aged = agedPages(known, tokens, layout);
    if (aged.length === 0) return [];
    const found = await store.getPages(
      tenant,
      aged.map(({ key }) => key),
    );
    const pages = aged.flatMap((entry, at): Page[] => {
      const bytes = found[at];
      return bytes ? [{ entry, bytes }] : [];
    });
    await this.#refuseDamaged(tenant, pages);
    return pages;
  }

  /** Takes pages that are not what their keys say out of the store, and throws `SnapshotRefusal` (`corrupted`). */
  async #refuseDamaged(tenant: string, pages: readonly Page[]): Promise<void> {
    const damaged = pages.filter(({ entry, bytes }) => pageKey(bytes) !== entry.key);
    if (damaged.length === 0) return;
    const keys = damaged.map(({ entry }) => entry.key);
    await this.#options.store.removePages(tenant, keys);
    throw new SnapshotRefusal('corrupted', `page ${keys.join(', ')} is damaged`);
  }

  async restore(ref: SessionRef, tokens: readonly number[], next: SessionRef): Promise<RestoreResult> {
    const start = performance.now();
    try {
      let stored = await this.#options.store.getManifest(ref.tenant, ref.session);
      while (stored) {
        const { version }: { version: string } = stored;
        try {
          const restored = await this.#restore(stored, ref, tokens, next);
          return { kind: 'restored', ...restored, milliseconds: performance.now() - start };
        } catch (error) {
          if (!(error instanceof SnapshotRefusal) || error.reason !== 'page_missing') throw error;
          // Whoever runs it may have stored the next state meanwhile, which takes pages of this one away.
          stored = await this.#newerThan(ref, version);
          if (!stored) throw error;
        }
      }
      return { kind: 'none' };
    } catch (error) {
      const reason =
        error instanceof SnapshotRefusal
          ? error.reason
          : error instanceof MessageError
            ? 'incomplete'
            : 'store_unavailable';
      return { kind: 'refused', reason, message: error instanceof Error ? error.message : String(error) };
    }
  }

  async #restore(
    stored: { readonly bytes: Uint8Array; readonly version: string },
    ref: SessionRef,
    tokens: readonly number[],
    next: SessionRef,
  ): Promise<{ readonly state: SessionState; readonly bytes: number }> {
    const { store, layout, model } = this.#options;
    const manifest = decodeManifest(stored.bytes, this.#identity(ref));
    const { tokens: count, pages: entries } = manifest;
    if (count > tokens.length) {
      throw new SnapshotRefusal('ahead', `it remembers ${count} tokens, the sequence has ${tokens.length}`);
    }
    if (hashTokens(tokens.slice(0, count)) !== manifest.tokenHash) {
      throw new SnapshotRefusal(
        'other_tokens',
        `it remembers ${count} tokens that are not those of the sequence`,
      );
    }
    const found = await store.getPages(
      ref.tenant,
      entries.map(({ key }) => key),
    );
    const pages = entries.map((entry, at): Page => {
      const bytes = found[at];
      if (!bytes) throw new SnapshotRefusal('page_missing', `page ${entry.key} is not in the store`);
      return { entry, bytes };
    });
    await this.#refuseDamaged(ref.tenant, pages);
    const state = stateOf(pages, this.#codec, { fingerprint: model.fingerprint, tokens: count });
    checkSessionState(state, layout, model);
    const same = keyOf(ref) === keyOf(next);
    this.#known.set(keyOf(next), { version: same ? stored.version : null, pages: entries });
    const bytes = stored.bytes.length + sum(pages, ({ bytes }) => bytes.length);
    return { state, bytes };
  }

  /** What is stored of `ref`; null where that is nothing, or still `before`. */
  async #newerThan({ tenant, session }: SessionRef, before: string) {
    const stored = await this.#options.store.getManifest(tenant, session);
    return stored?.version === before ? null : stored;
  }

  async renew(ref: SessionRef): Promise<void> {
    const now = Date.now();
    for (const [key, at] of this.#renewed) if (at < now - renewMs) this.#renewed.delete(key);
    if (this.#renewed.has(keyOf(ref))) return;
    this.#renewed.set(keyOf(ref), now);
    const { store } = this.#options;
    try {
      const stored = await store.getManifest(ref.tenant, ref.session);
      if (!stored) return;
      const { pages } = decodeManifest(stored.bytes, ref);
      await store.putManifest(ref.tenant, ref.session, { bytes: stored.bytes, pages }, stored.version);
    } catch {
      // It is stored again when it is computed again.
    }
  }

  async delete(ref: SessionRef): Promise<void> {
    this.#known.delete(keyOf(ref));
    await this.#options.store.delete(ref.tenant, ref.session).catch(() => {});
  }

  release(ref: SessionRef): void {
    this.#known.delete(keyOf(ref));
  }

  async close(): Promise<void> {
    await this.#options.store.close();
  }

  /**
   * The version that another process stored, to be replaced by a state of `tokens` tokens. Throws `SnapshotRefusal`
   * (`foreign_session`) where it remembers more: what an owner has stored, no owner of before takes back.
   */
  async #behind(ref: SessionRef, tokens: number): Promise<string | null> {
    const stored = await this.#readable(ref);
    if (!stored) return null;
    const found = this.#tokensOf(ref, stored.bytes);
    if (found <= tokens) return stored.version;
    throw new SnapshotRefusal('foreign_session', `another worker has stored ${found} tokens of this session`);
  }

  /** Forgets a manifest that nobody with these keys can read: it is in the way of one that can be. */
  async #readable({ tenant, session }: SessionRef) {
    const { store } = this.#options;
    try {
      return await store.getManifest(tenant, session);
    } catch (error) {
      if (!(error instanceof SnapshotRefusal)) throw error;
      await store.delete(tenant, session);
      return null;
    }
  }

  /** What a manifest says that is stored here, and must say that is gone on from here. */
  #identity(ref: SessionRef) {
    const { fingerprint, tokenizer = null } = this.#options.model;
    return { ...ref, fingerprint, tokenizer };
  }

  /** 0 where nobody could go on from it. */
  #tokensOf(ref: SessionRef, manifest: Uint8Array): number {
    try {
      return decodeManifest(manifest, this.#identity(ref)).tokens;
    } catch (error) {
      if (error instanceof SnapshotRefusal || error instanceof MessageError) return 0;
      throw error;
    }
  }
}

function keyOf({ tenant, session }: SessionRef): string {
  return `${tenant} ${session}`;
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}
