import { hash } from 'node:crypto';
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import type { Section } from '../codec/sections.ts';
import { type PageTier, pageTiers } from '../codec/tiers.ts';
import { SnapshotRefusal } from '../refusal.ts';
import { ByteReader, ByteWriter } from './bytes.ts';

/**
 * What a page holds: rows of all caches with one window, or the convolution's or the scan's states of all layers. `recurrent`,
 * both of these, is read and not written any more.
 */
export const partNames = ['kv', 'recurrent', 'conv', 'ssm'] as const;
export type PartName = (typeof partNames)[number];

/** Which values a page has, and how they are encoded. */
export interface PageHead {
  readonly part: PartName;
  readonly tier: PageTier;
  /** Of `kv`: number of the group of caches, see `cacheGroups`. Else 0. */
  readonly group: number;
  /** Tokens that it is of: rows `first` … `first + count - 1`, or the state after `first` tokens and no rows. */
  readonly first: number;
  readonly count: number;
}

const magic = 0x47505442; // "BTPG"
const version = 4;
/**
 * What is compressed are codes and exponents, which repeat by chance only: matches are not worth looking for, and the
 * frequencies of their bytes are. `fast` with long matches and a small table comes closest to that.
 */
const parameters = {
  [constants.ZSTD_c_compressionLevel]: 1,
  [constants.ZSTD_c_strategy]: constants.ZSTD_fast,
  [constants.ZSTD_c_minMatch]: 7,
  [constants.ZSTD_c_hashLog]: 6,
};
/** No page of a model that can be served is larger. */
const largestSection = 2 ** 30;

/** The bytes of a page, documented in FORMAT.md. */
export function sealPage(head: PageHead, sections: readonly Section[]): Uint8Array<ArrayBuffer> {
  const stored = sections.map(({ bytes, compress }) => (compress ? compressed(bytes) : bytes));
  const writer = new ByteWriter()
    .u32(magic)
    .u8(version, partNames.indexOf(head.part), pageTiers.indexOf(head.tier), head.group)
    .u32(head.first)
    .u32(head.count)
    .u8(sections.length);
  for (const [at, { bytes }] of sections.entries()) {
    writer.u32(bytes.length).u32((stored[at] as Uint8Array).length);
  }
  for (const bytes of stored) writer.bytes(bytes);
  return writer.finish();
}

/** Throws `SnapshotRefusal` for bytes that are no page, or no whole one. */
export function openPage(bytes: Uint8Array): {
  readonly head: PageHead;
  readonly sections: readonly Uint8Array[];
} {
  const reader = new ByteReader(bytes);
  if (reader.u32() !== magic) throw new SnapshotRefusal('corrupted', 'a page does not begin like one');
  const found = reader.u8();
  if (found > version) {
    throw new SnapshotRefusal('newer_version', `a page has version ${found}; this Baton reads ${version}`);
  }
  if (found < version) {
    throw new SnapshotRefusal('older_version', `a page has version ${found}; this Baton reads ${version}`);
  }
  const part = partNames[reader.u8()];
  const tier = pageTiers[reader.u8()];
  if (!part || !tier) throw new SnapshotRefusal('corrupted', 'a page is of an unknown part or tier');
  const head = { part, tier, group: reader.u8(), first: reader.u32(), count: reader.u32() };
  const sizes = Array.from({ length: reader.u8() }, () => ({ raw: reader.u32(), stored: reader.u32() }));
  const sections = sizes.map(({ raw, stored }) => {
    if (raw > largestSection) throw new SnapshotRefusal('corrupted', `a page claims ${raw} bytes`);
    const section = reader.bytes(stored);
    return stored === raw ? section : decompressed(section, raw);
  });
  if (reader.left > 0) throw new SnapshotRefusal('corrupted', `a page goes on for ${reader.left} bytes`);
  return { head, sections };
}

/** The bytes as they are where compressing does not make them fewer. */
function compressed(bytes: Uint8Array): Uint8Array {
  // Room for all that comes out, so that it comes in one piece.
  const chunkSize = bytes.length + (bytes.length >> 7) + 512;
  const fewer = zstdCompressSync(bytes, { params: parameters, chunkSize, pledgedSrcSize: bytes.length });
  return fewer.length < bytes.length ? fewer : bytes;
}

function decompressed(bytes: Uint8Array, length: number): Uint8Array {
  let section: Uint8Array;
  try {
    section = zstdDecompressSync(bytes, {
      maxOutputLength: Math.max(1, length),
      chunkSize: Math.max(64, length),
    });
  } catch (error) {
    throw new SnapshotRefusal('corrupted', `a page does not decompress: ${String(error)}`);
  }
  if (section.length === length) return section;
  throw new SnapshotRefusal('corrupted', `a page has ${section.length} bytes of ${length}`);
}

/** A page's key: SHA-256 of its bytes, in hexadecimal. */
export function pageKey(bytes: Uint8Array): string {
  return hash('sha256', bytes);
}
