import { createHash } from 'node:crypto';
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { type CodecTier, codecTiers } from '../codec/tiers.ts';
import { SnapshotRefusal } from '../refusal.ts';
import { ByteReader, ByteWriter } from './bytes.ts';

/** What a page holds: rows of all caches with one window, or the recurrent states of all layers. */
export const partNames = ['kv', 'recurrent'] as const;
export type PartName = (typeof partNames)[number];

/** Which values a page has, and how they are encoded. */
export interface PageHead {
  readonly part: PartName;
  readonly tier: CodecTier;
  /** Of `kv`: number of the group of caches, see `cacheGroups`. Else 0. */
  readonly group: number;
  /** Tokens that it is of: rows `first` … `first + count - 1`, or the state after `first` tokens and no rows. */
  readonly first: number;
  readonly count: number;
}

const magic = 0x47505442; // "BTPG"
const version = 1;
const level = { params: { [constants.ZSTD_c_compressionLevel]: 1 } };
/** No page of a model that can be served is larger. */
const largestPayload = 2 ** 30;

/** The bytes of a page, documented in FORMAT.md. */
export function sealPage(head: PageHead, payload: Uint8Array): Uint8Array<ArrayBuffer> {
  return new ByteWriter()
    .u32(magic)
    .u8(version, partNames.indexOf(head.part), codecTiers.indexOf(head.tier), head.group)
    .u32(head.first)
    .u32(head.count)
    .u32(payload.length)
    .bytes(zstdCompressSync(payload, level))
    .finish();
}

/** Throws `SnapshotRefusal` for bytes that are no page, or no whole one. */
export function openPage(bytes: Uint8Array): { readonly head: PageHead; readonly payload: Uint8Array } {
  const reader = new ByteReader(bytes);
  if (reader.u32() !== magic) throw new SnapshotRefusal('corrupted', 'a page does not begin like one');
  const found = reader.u8();
  if (found !== version) {
    throw new SnapshotRefusal('newer_version', `a page has version ${found}; this Baton reads ${version}`);
  }
  const part = partNames[reader.u8()];
  const tier = codecTiers[reader.u8()];
  if (!part || !tier) throw new SnapshotRefusal('corrupted', 'a page is of an unknown part or tier');
  const head = { part, tier, group: reader.u8(), first: reader.u32(), count: reader.u32() };
  const length = reader.u32();
  if (length > largestPayload) throw new SnapshotRefusal('corrupted', `a page claims ${length} bytes`);
  return { head, payload: decompress(reader.bytes(reader.left), length) };
}

function decompress(bytes: Uint8Array, length: number): Uint8Array {
  let payload: Uint8Array;
  try {
    const buffer = zstdDecompressSync(bytes, { maxOutputLength: Math.max(1, length) });
    // A Buffer's `slice` would not copy.
    payload = new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.length);
  } catch (error) {
    throw new SnapshotRefusal('corrupted', `a page does not decompress: ${String(error)}`);
  }
  if (payload.length === length) return payload;
  throw new SnapshotRefusal('corrupted', `a page has ${payload.length} bytes of ${length}`);
}

/** A page's key: SHA-256 of its bytes, in hexadecimal. */
export function pageKey(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
