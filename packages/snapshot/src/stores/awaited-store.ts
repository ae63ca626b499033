import { setTimeout as sleep } from 'node:timers/promises';
import { S3ServiceException } from '@aws-sdk/client-s3';
import { BatonError, DependencyError, ServerError } from '@baton/errors';
import type { SizedManifest, SnapshotStore, StoredManifest, StoredPage, StoreUsage } from './store.ts';

/** Hears why a store cannot be used, and null once it can. */
export type OnStoreState = (outage: BatonError | null) => void;

const retryMs = 1000;

/**
 * A store that did not answer when it was to be opened: it is opened as soon as it does, and until then its methods throw why
 * it is not. Nobody needs a store to begin with, since any state can be computed again.
 */
export class AwaitedStore implements SnapshotStore {
  readonly #closing = new AbortController();
  #store: SnapshotStore | null = null;
  #outage: BatonError;

  private constructor(open: () => Promise<SnapshotStore>, outage: BatonError, onState: OnStoreState) {
    this.#outage = outage;
    void this.#awaitStore(open, onState);
  }

  /** Throws what `open` does, unless that is only that the store does not answer now. */
  static async open(open: () => Promise<SnapshotStore>, onState: OnStoreState): Promise<SnapshotStore> {
    try {
      return await open();
    } catch (error) {
      if (!isOutage(error)) throw error;
      onState(error);
      return new AwaitedStore(open, error, onState);
    }
  }

  async missing(...args: Parameters<SnapshotStore['missing']>): Promise<Set<string>> {
    return this.#opened.missing(...args);
  }

  refuseWhatNeverFits(manifest: SizedManifest): void {
    this.#opened.refuseWhatNeverFits(manifest);
  }

  async putPages(tenant: string, pages: readonly StoredPage[]): Promise<void> {
    await this.#opened.putPages(tenant, pages);
  }

  async removePages(tenant: string, keys: readonly string[]): Promise<void> {
    await this.#opened.removePages(tenant, keys);
  }

  async getPages(tenant: string, keys: readonly string[]): Promise<(Uint8Array | null)[]> {
    return this.#opened.getPages(tenant, keys);
  }

  async putManifest(tenant: string, session: string, manifest: StoredManifest, replaces: string | null) {
    return this.#opened.putManifest(tenant, session, manifest, replaces);
  }

  async getManifest(tenant: string, session: string) {
    return this.#opened.getManifest(tenant, session);
  }

  async delete(tenant: string, session: string): Promise<void> {
    await this.#opened.delete(tenant, session);
  }

  async usage(tenant: string): Promise<StoreUsage> {
    return this.#opened.usage(tenant);
  }

  async collect(): Promise<void> {
    await this.#opened.collect();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#store?.close();
  }

  get #opened(): SnapshotStore {
    if (this.#store === null) throw this.#outage;
    return this.#store;
  }

  async #awaitStore(open: () => Promise<SnapshotStore>, onState: OnStoreState): Promise<void> {
    const { signal } = this.#closing;
    for (;;) {
      await sleep(retryMs, undefined, { signal }).catch(() => {});
      if (signal.aborted) return;
      try {
        const store = await open();
        if (signal.aborted) return await store.close();
        this.#store = store;
        return onState(null);
      } catch (error) {
        this.#outage = error instanceof BatonError ? error : new ServerError(String(error), { cause: error });
        // It answers, and will not do: there is nothing to be waited for.
        if (!isOutage(error)) return onState(this.#outage);
      }
    }
  }
}

/** Whether it may do later: one that has no such bucket, or refuses who asks, needs other settings. */
function isOutage(error: unknown): error is DependencyError {
  if (!(error instanceof DependencyError)) return false;
  const { cause } = error;
  if (cause instanceof S3ServiceException) {
    const status = cause.$metadata.httpStatusCode ?? 0;
    return status < 400 || status === 408 || status === 429 || status >= 500;
  }
  if (!(cause instanceof Error)) return true;
  // The first word of an error that Redis answers is its code.
  if (cause.name === 'ReplyError') return !/^(NOAUTH|WRONGPASS|NOPERM) /.test(cause.message);
  return cause.name !== 'CredentialsProviderError';
}
