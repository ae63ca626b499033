import { createCipheriv, createDecipheriv, hash, randomBytes } from 'node:crypto';
import { SnapshotRefusal } from '../refusal.ts';
import type { SizedManifest, SnapshotStore, StoredManifest, StoredPage, StoreUsage } from './store.ts';

const cipher = 'aes-256-gcm';
/** In front of what is encrypted: see FORMAT.md. */
export const encryptedMagic = Buffer.from('BTE1');
const [keyIdBytes, nonceBytes, tagBytes] = [8, 12, 16];
const headBytes = encryptedMagic.length + keyIdBytes + nonceBytes;
/** Bytes that encryption adds to each page and manifest. */
export const encryptionOverhead = headBytes + tagBytes;

/**
 * A store whose pages and manifests are encrypted with AES-256-GCM, each bound to its tenant and its name. The first key
 * encrypts and all decrypt, so that a key is replaced by putting a new one in front. Reading throws `SnapshotRefusal`: `key_missing`
 * for what none of the keys has encrypted, also where it is not encrypted at all, `corrupted` for what was changed or moved.
 */
export class EncryptedStore implements SnapshotStore {
  readonly #inner: SnapshotStore;
  /** By id, the newest first. */
  readonly #keys: ReadonlyMap<string, Uint8Array>;

  /** `keys`: 32 bytes each, in hexadecimal. */
  constructor(inner: SnapshotStore, keys: readonly [string, ...string[]]) {
    this.#inner = inner;
    this.#keys = new Map(keys.map((key) => [idOf(Buffer.from(key, 'hex')), Buffer.from(key, 'hex')]));
  }

  refuseWhatNeverFits({ bytes, pages }: SizedManifest): void {
    this.#inner.refuseWhatNeverFits({
      bytes: { length: bytes.length + encryptionOverhead },
      pages: pages.map((page) => ({ bytes: page.bytes + encryptionOverhead })),
    });
  }

  async missing(tenant: string, keys: readonly string[], { refresh = true } = {}): Promise<Set<string>> {
    const names = await this.#namesOf(tenant, keys, { refresh });
    return new Set(keys.filter((key) => !names.has(key)));
  }

  putPages(tenant: string, pages: readonly StoredPage[]): Promise<void> {
    return this.#inner.putPages(
      tenant,
      pages.map(({ key, bytes }) => ({
        key: innerName(key, this.#newest),
        bytes: this.#encrypt(bytes, pageName(tenant, key)),
      })),
    );
  }

  async getPages(tenant: string, keys: readonly string[]): Promise<(Uint8Array | null)[]> {
    const found = new Map<string, Uint8Array>();
    for (const id of this.#keys.keys()) {
      const wanted = keys.filter((key) => !found.has(key));
      if (wanted.length === 0) break;
      const names = wanted.map((key) => innerName(key, id));
      const pages = await this.#inner.getPages(tenant, names);
      for (const [at, bytes] of pages.entries()) {
        const key = String(wanted[at]);
        if (bytes) found.set(key, await this.#openPage(tenant, key, { bytes, name: String(names[at]) }));
      }
    }
    return keys.map((key) => found.get(key) ?? null);
  }

  async removePages(tenant: string, keys: readonly string[]): Promise<void> {
    const names = keys.flatMap((key) => [...this.#keys.keys()].map((id) => innerName(key, id)));
    await this.#inner.removePages(tenant, names);
  }

  async putManifest(tenant: string, session: string, manifest: StoredManifest, replaces: string | null) {
    const keys = manifest.pages.map(({ key }) => key);
    const names = this.#keys.size > 1 ? await this.#namesOf(tenant, keys) : new Map<string, string>();
    const encrypted = {
      bytes: this.#encrypt(manifest.bytes, sessionName(tenant, session)),
      pages: manifest.pages.map(({ key, bytes }) => ({
        key: names.get(key) ?? innerName(key, this.#newest),
        bytes: bytes + encryptionOverhead,
      })),
    };
    return this.#inner.putManifest(tenant, session, encrypted, replaces);
  }

  async getManifest(tenant: string, session: string) {
    const found = await this.#inner.getManifest(tenant, session);
    return found && { ...found, bytes: this.#decrypt(found.bytes, sessionName(tenant, session)) };
  }

  delete(tenant: string, session: string): Promise<void> {
    return this.#inner.delete(tenant, session);
  }

  usage(tenant: string): Promise<StoreUsage> {
    return this.#inner.usage(tenant);
  }

  collect(): Promise<void> {
    return this.#inner.collect();
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  /** Under which names the pages are that are there, encrypted by the newest key that has them. */
  async #namesOf(
    tenant: string,
    keys: readonly string[],
    { refresh = true } = {},
  ): Promise<Map<string, string>> {
    const names = new Map<string, string>();
    for (const id of this.#keys.keys()) {
      const wanted = keys.filter((key) => !names.has(key));
      if (wanted.length === 0) break;
      const missing = await this.#inner.missing(
        tenant,
        wanted.map((key) => innerName(key, id)),
        { refresh },
      );
      for (const key of wanted) if (!missing.has(innerName(key, id))) names.set(key, innerName(key, id));
    }
    return names;
  }

  /** Takes away what does not decrypt, so that it is stored again. */
  async #openPage(
    tenant: string,
    key: string,
    { bytes, name }: { readonly bytes: Uint8Array; readonly name: string },
  ): Promise<Uint8Array> {
    try {
      return this.#decrypt(bytes, pageName(tenant, key));
    } catch (error) {
      await this.#inner.removePages(tenant, [name]).catch(() => {});
      throw error;
    }
  }

  get #newest(): string {
    return String([...this.#keys.keys()][0]);
  }

  #encrypt(bytes: Uint8Array, name: Buffer): Uint8Array {
    const id = this.#newest;
    const key = this.#keys.get(id) as Uint8Array;
    const nonce = randomBytes(nonceBytes);
    const encryption = createCipheriv(cipher, key, nonce).setAAD(name);
    const parts = [encryption.update(bytes), encryption.final(), encryption.getAuthTag()];
    return new Uint8Array(Buffer.concat([encryptedMagic, Buffer.from(id, 'hex'), nonce, ...parts]));
  }

  #decrypt(bytes: Uint8Array, name: Buffer): Uint8Array {
    if (!isEncrypted(bytes)) {
      throw new SnapshotRefusal('key_missing', 'it is not encrypted, and only encrypted ones are trusted');
    }
    if (bytes.length < encryptionOverhead) {
      throw new SnapshotRefusal('truncated', `it ends at byte ${bytes.length}, before its checksum`);
    }
    const field = (start: number, length: number) => bytes.subarray(start, start + length);
    const id = Buffer.from(field(encryptedMagic.length, keyIdBytes)).toString('hex');
    const key = this.#keys.get(id);
    if (!key) throw new SnapshotRefusal('key_missing', `it is encrypted with key ${id}, which is not given`);
    const decryption = createDecipheriv(cipher, key, field(headBytes - nonceBytes, nonceBytes));
    decryption.setAAD(name).setAuthTag(bytes.subarray(-tagBytes));
    try {
      const parts = [decryption.update(bytes.subarray(headBytes, -tagBytes)), decryption.final()];
      return new Uint8Array(Buffer.concat(parts));
    } catch (error) {
      throw new SnapshotRefusal('corrupted', `it does not decrypt: ${String(error)}`);
    }
  }
}

export function isEncrypted(bytes: Uint8Array): boolean {
  return encryptedMagic.equals(bytes.subarray(0, encryptedMagic.length));
}

function idOf(key: Uint8Array): string {
  return hash('sha256', key).slice(0, 2 * keyIdBytes);
}

/** A page's name in the store: what another key has encrypted is another page, and not there for who has not that key. */
function innerName(key: string, id: string): string {
  return `${key}.${id}`;
}

function pageName(tenant: string, key: string): Buffer {
  return Buffer.from(`page\0${tenant}\0${key}`);
}

function sessionName(tenant: string, session: string): Buffer {
  return Buffer.from(`session\0${tenant}\0${session}`);
}
