import { type StateLayout, sharedFloats } from '@baton/engine';
import { SnapshotRefusal } from '../refusal.ts';
import { fromPlanes, toPlanes } from './planes.ts';
import {
  coarseBits,
  dequantiseLine,
  eightBits,
  fineBits,
  type Line,
  type Quantiser,
  quantiseLine,
  sixteenBits,
} from './quantise.ts';
import { rotateKeys } from './rotation.ts';
import type { CodecTier } from './tiers.ts';

/** Rows [heads, count, width] of one cache. */
export interface Rows {
  readonly keys: Float32Array;
  readonly values: Float32Array;
}

export interface RowRange {
  readonly first: number;
  readonly count: number;
}

type Lossy = Exclude<CodecTier, 'exact'>;

/** Attention depends on its keys more than on its values, so where bits are few the keys get more of them. */
const quantisers: Readonly<Record<Lossy, Readonly<Record<'keys' | 'values' | 'conv' | 'ssm', Quantiser>>>> = {
  int8: { keys: eightBits, values: eightBits, conv: sixteenBits, ssm: sixteenBits },
  compact: { keys: fineBits, values: coarseBits, conv: eightBits, ssm: eightBits },
};
/** Values of a recurrent state that share a scale. */
const block = 64;

/** Rows of several caches → the payload of a page. */
export function encodeRows(
  caches: readonly Rows[],
  range: RowRange,
  tier: CodecTier,
  layout: StateLayout,
): Uint8Array {
  if (tier === 'exact') return toPlanes(caches.flatMap(({ keys, values }) => [keys, values]));
  const turned = caches.map(({ keys, values }) => {
    const copy = { keys: keys.slice(), values };
    rotateKeys(copy.keys, layout, range, 'back');
    return copy;
  });
  return pack(rowParts(turned, range, tier, layout));
}

/** Throws `SnapshotRefusal` for a payload of another size. */
export function decodeRows(
  payload: Uint8Array,
  caches: number,
  range: RowRange,
  tier: CodecTier,
  layout: StateLayout,
): Rows[] {
  const { kvHeads, keySize, valueSize } = layout;
  const rows = Array.from({ length: caches }, () => ({
    keys: sharedFloats(kvHeads * range.count * keySize),
    values: sharedFloats(kvHeads * range.count * valueSize),
  }));
  if (tier === 'exact') {
    unplane(
      payload,
      rows.flatMap(({ keys, values }) => [keys, values]),
    );
    return rows;
  }
  unpack(payload, rowParts(rows, range, tier, layout));
  for (const { keys } of rows) rotateKeys(keys, layout, range, 'forth');
  return rows;
}

/** The convolution's and the scan's states of all layers → the payload of a page. */
export function encodeRecurrent(
  conv: readonly Float32Array[],
  ssm: readonly Float32Array[],
  tier: CodecTier,
): Uint8Array {
  return tier === 'exact' ? toPlanes([...conv, ...ssm]) : pack(recurrentParts(conv, ssm, tier));
}

export function decodeRecurrent(payload: Uint8Array, tier: CodecTier, layout: StateLayout) {
  const floatsOf = ([rows, channels]: readonly [number, number]) =>
    Array.from({ length: layout.layers }, () => sharedFloats(rows * channels));
  const state = { conv: floatsOf(layout.conv), ssm: floatsOf(layout.ssm) };
  if (tier === 'exact') unplane(payload, [...state.conv, ...state.ssm]);
  else unpack(payload, recurrentParts(state.conv, state.ssm, tier));
  return state;
}

/** Values, and which of them share a scale. */
interface Part {
  readonly values: Float32Array;
  readonly lines: readonly Line[];
  readonly quantiser: Quantiser;
}

function rowParts(
  caches: readonly Rows[],
  { count }: RowRange,
  tier: Lossy,
  { kvHeads, keySize, valueSize }: StateLayout,
): Part[] {
  // A channel of a key head keeps its size over many tokens, and a token's values have a size of their own.
  const ofKeys = Array.from({ length: kvHeads * keySize }, (_, line) => ({
    first: Math.floor(line / keySize) * count * keySize + (line % keySize),
    stride: keySize,
    count,
  }));
  const ofValues = Array.from({ length: kvHeads * count }, (_, row) => ({
    first: row * valueSize,
    stride: 1,
    count: valueSize,
  }));
  const { keys: forKeys, values: forValues } = quantisers[tier];
  return caches.flatMap(({ keys, values }) => [
    { values: keys, lines: ofKeys, quantiser: forKeys },
    { values, lines: ofValues, quantiser: forValues },
  ]);
}

function recurrentParts(conv: readonly Float32Array[], ssm: readonly Float32Array[], tier: Lossy): Part[] {
  const partOf = (values: Float32Array, quantiser: Quantiser): Part => ({
    values,
    quantiser,
    lines: Array.from({ length: Math.ceil(values.length / block) }, (_, at) => ({
      first: at * block,
      stride: 1,
      count: Math.min(block, values.length - at * block),
    })),
  });
  const { conv: forConv, ssm: forSsm } = quantisers[tier];
  return [...conv.map((values) => partOf(values, forConv)), ...ssm.map((values) => partOf(values, forSsm))];
}

/** All scales, and then all codes in the fewest whole bytes. */
function pack(parts: readonly Part[]): Uint8Array {
  const scales: number[] = [];
  const codes = parts.map(({ values, lines, quantiser }) => {
    const wide = quantiser.limit > 127 ? new Uint16Array(values.length) : new Uint8Array(values.length);
    for (const line of lines) scales.push(quantiseLine(values, wide, line, quantiser));
    return quantiser.limit <= 7 ? toNibbles(wide) : new Uint8Array(wide.buffer);
  });
  return new Uint8Array(Buffer.concat([new Uint8Array(Uint16Array.from(scales).buffer), ...codes]));
}

function unpack(payload: Uint8Array, parts: readonly Part[]): void {
  const scaleCount = parts.reduce((sum, { lines }) => sum + lines.length, 0);
  const size = parts.reduce(
    (sum, { values, quantiser }) => sum + codeBytes(values, quantiser),
    2 * scaleCount,
  );
  if (payload.length !== size) throw wrongSize(payload.length, size);
  const scales = new Uint16Array(payload.slice(0, 2 * scaleCount).buffer);
  let at = 2 * scaleCount;
  let scale = 0;
  for (const { values, lines, quantiser } of parts) {
    const bytes = payload.slice(at, at + codeBytes(values, quantiser));
    at += bytes.length;
    const codes =
      quantiser.limit > 127
        ? new Uint16Array(bytes.buffer)
        : quantiser.limit <= 7
          ? fromNibbles(bytes)
          : bytes;
    for (const line of lines) dequantiseLine(codes, values, line, quantiser, scales[scale++] ?? 0);
  }
}

function codeBytes({ length }: Float32Array, { limit }: Quantiser): number {
  return limit > 127 ? 2 * length : limit <= 7 ? length >> 1 : length;
}

function toNibbles(codes: Uint8Array | Uint16Array): Uint8Array {
  const bytes = new Uint8Array(codes.length >> 1);
  for (let i = 0; i < bytes.length; i++)
    bytes[i] = (codes[2 * i] as number) | ((codes[2 * i + 1] as number) << 4);
  return bytes;
}

function fromNibbles(bytes: Uint8Array): Uint8Array {
  const codes = new Uint8Array(2 * bytes.length);
  for (let i = 0; i < bytes.length; i++) {
    codes[2 * i] = (bytes[i] as number) & 15;
    codes[2 * i + 1] = (bytes[i] as number) >> 4;
  }
  return codes;
}

function unplane(payload: Uint8Array, floats: readonly Float32Array[]): void {
  const size = floats.reduce((sum, { byteLength }) => sum + byteLength, 0);
  if (payload.length !== size) throw wrongSize(payload.length, size);
  fromPlanes(payload, floats);
}

function wrongSize(found: number, right: number): SnapshotRefusal {
  return new SnapshotRefusal('corrupted', `a page's payload has ${found} bytes; it must have ${right}`);
}
