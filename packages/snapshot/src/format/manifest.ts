import { createHash } from 'node:crypto';
import { type PageTier, pageTiers } from '../codec/tiers.ts';
import { SnapshotRefusal } from '../refusal.ts';
import { isEncrypted } from '../stores/encrypted-store.ts';
import { ByteReader, ByteWriter } from './bytes.ts';
import { type PageHead, type PartName, partNames } from './page.ts';

/** A page as its manifest names it. */
export interface PageEntry extends PageHead {
  readonly key: string;
  /** Stored bytes. */
  readonly bytes: number;
  /** Bytes of its values as float32. */
  readonly rawBytes: number;
}

export interface Manifest {
  /** SHA-256, in hexadecimal, of the model that made it. */
  readonly fingerprint: string;
  /** SHA-256, in hexadecimal, of what the token ids stand for; null where that is not known. */
  readonly tokenizer: string | null;
  readonly tenant: string;
  readonly session: string;
  /** How many tokens it remembers, and SHA-256 of their ids. */
  readonly tokens: number;
  readonly tokenHash: string;
  readonly pages: readonly PageEntry[];
}

const magic = Buffer.from('BATONSNP');
const version = 2;
/** One without a tokenizer is read, and not written any more. */
const oldest = 1;
const unknown = '00'.repeat(32);

/** The bytes of a manifest, documented in FORMAT.md. */
export function encodeManifest(manifest: Manifest): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter().bytes(magic).u16(version);
  writer.bytes(Buffer.from(manifest.fingerprint, 'hex'));
  writer.bytes(Buffer.from(manifest.tokenizer ?? unknown, 'hex')).bytes(owner(manifest));
  writer.u32(manifest.tokens).bytes(Buffer.from(manifest.tokenHash, 'hex')).u32(manifest.pages.length);
  for (const page of manifest.pages) {
    writer.u8(partNames.indexOf(page.part), pageTiers.indexOf(page.tier), page.group, 0);
    writer.u32(page.first).u32(page.count).u32(page.bytes).u32(page.rawBytes);
    writer.bytes(Buffer.from(page.key, 'hex'));
  }
  const body = writer.finish();
  return new ByteWriter().bytes(body).bytes(sha256(body)).finish();
}

/**
 * Throws `SnapshotRefusal` for bytes that are damaged, or those of another session or version, or of another model than
 * `fingerprint`, or tokenizer where both are known.
 */
export function decodeManifest(
  bytes: Uint8Array,
  expected: Pick<Manifest, 'tenant' | 'session'> & Partial<Pick<Manifest, 'fingerprint' | 'tokenizer'>>,
): Manifest {
  const reader = new ByteReader(bytes);
  if (isEncrypted(bytes)) throw new SnapshotRefusal('key_missing', 'it is encrypted, and no key is given');
  if (!magic.equals(reader.bytes(magic.length))) {
    throw new SnapshotRefusal('corrupted', 'the manifest does not begin like one');
  }
  const found = reader.u16();
  if (found > version || found < oldest) {
    throw new SnapshotRefusal(
      found > version ? 'newer_version' : 'older_version',
      `the manifest has version ${found}; this Baton reads ${oldest} to ${version}`,
    );
  }
  const fingerprint = hex(reader.bytes(32));
  const named = found > oldest ? hex(reader.bytes(32)) : unknown;
  const tokenizer = named === unknown ? null : named;
  const ownerFound = reader.bytes(32);
  const tokens = reader.u32();
  const tokenHash = hex(reader.bytes(32));
  const pages = Array.from({ length: Math.min(reader.u32(), reader.left) }, () => readPage(reader));
  const body = bytes.subarray(0, bytes.length - reader.left);
  if (!sha256(body).equals(reader.bytes(32)) || reader.left > 0) {
    throw new SnapshotRefusal('corrupted', "the manifest's checksum is wrong");
  }
  if (!owner(expected).equals(ownerFound)) {
    throw new SnapshotRefusal('foreign_session', 'the manifest is of another session or tenant');
  }
  if (expected.fingerprint !== undefined && fingerprint !== expected.fingerprint) {
    throw new SnapshotRefusal(
      'foreign_model',
      `the manifest is of model ${fingerprint}; this one is ${expected.fingerprint}`,
    );
  }
  if (tokenizer !== null && tokenizer !== (expected.tokenizer ?? tokenizer)) {
    throw new SnapshotRefusal(
      'foreign_tokenizer',
      `the manifest is of tokenizer ${tokenizer}; this one is ${expected.tokenizer}`,
    );
  }
  const { tenant, session } = expected;
  return { fingerprint, tokenizer, tenant, session, tokens, tokenHash, pages };
}

function readPage(reader: ByteReader): PageEntry {
  const part = partNames[reader.u8()] as PartName;
  const tier = pageTiers[reader.u8()] as PageTier;
  const group = reader.u8();
  reader.u8();
  const [first, count, bytes, rawBytes] = [reader.u32(), reader.u32(), reader.u32(), reader.u32()];
  return { part, tier, group, first, count, bytes, rawBytes, key: hex(reader.bytes(32)) };
}

/** SHA-256 of token ids as little-endian 32-bit numbers. */
export function hashTokens(tokens: readonly number[]): string {
  return hex(sha256(new Uint8Array(Uint32Array.from(tokens).buffer)));
}

function owner({ tenant, session }: Pick<Manifest, 'tenant' | 'session'>): Buffer {
  return sha256(Buffer.from(`${tenant}\0${session}`));
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest();
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex');
}
