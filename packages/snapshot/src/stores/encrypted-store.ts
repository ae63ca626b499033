import { createCipheriv, createDecipheriv, hash, randomBytes } from 'node:crypto';
import { SnapshotRefusal } from '../refusal.ts';
import type { SnapshotStore, StoredManifest, StoredPage, StoreUsage } from './store.ts';

const cipher = 'aes-256-gcm';
/** In front of what is encrypted: see FORMAT.md. */
export const encryptedMagic = Buffer.from('BTE1');
const [keyIdBytes, nonceBytes, tagBytes] = [8, 12, 16];
const headBytes = encryptedMagic.length + keyIdBytes + nonceBytes;
const overhead = headBytes + tagBytes;

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

  missing(tenant: string, keys: readonly string[]): Promise<Set<string>> {
    return this.#inner.missing(tenant, keys);
  }

  putPages(tenant: string, pages: readonly StoredPage[]): Promise<void> {
    return this.#inner.putPages(
      tenant,
      pages.map(({ key, bytes }) => ({ key, bytes: this.#encrypt(bytes, pageName(tenant, key)) })),
    );
  }

  async getPages(tenant: string, keys: readonly string[]): Promise<(Uint8Array | null)[]> {
    const found = await this.#inner.getPages(tenant, keys);
    return found.map((bytes, at) => bytes && this.#decrypt(bytes, pageName(tenant, String(keys[at]))));
  }

  putManifest(tenant: string, session: string, manifest: StoredManifest, replaces: string | null) {
    const encrypted = {
      bytes: this.#encrypt(manifest.bytes, sessionName(tenant, session)),
      pages: manifest.pages.map(({ key, bytes }) => ({ key, bytes: bytes + overhead })),
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

  close(): Promise<void> {
    return this.#inner.close();
  }

  #encrypt(bytes: Uint8Array, name: Buffer): Uint8Array {
    const [[id, key]] = [...this.#keys] as [[string, Uint8Array]];
    const nonce = randomBytes(nonceBytes);
    const encryption = createCipheriv(cipher, key, nonce).setAAD(name);
    const parts = [encryption.update(bytes), encryption.final(), encryption.getAuthTag()];
    return new Uint8Array(Buffer.concat([encryptedMagic, Buffer.from(id, 'hex'), nonce, ...parts]));
  }

  #decrypt(bytes: Uint8Array, name: Buffer): Uint8Array {
    if (!isEncrypted(bytes)) {
      throw new SnapshotRefusal('key_missing', 'it is not encrypted, and only encrypted ones are trusted');
    }
    if (bytes.length < overhead) {
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

function pageName(tenant: string, key: string): Buffer {
  return Buffer.from(`page\0${tenant}\0${key}`);
}

function sessionName(tenant: string, session: string): Buffer {
  return Buffer.from(`session\0${tenant}\0${session}`);
}
