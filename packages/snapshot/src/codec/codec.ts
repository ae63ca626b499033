import { type StateLayout, sharedFloats } from '@baton/engine';
import { SnapshotRefusal } from '../refusal.ts';
import { fromPlanes, toPlanes } from './planes.ts';
import { dequantiseLine, eightBits, type Line, type Quantiser, quantiseLine, threeBits } from './quantise.ts';
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

const quantisers = { int8: eightBits, compact: threeBits } as const;
const sixteenBits: Quantiser = { limit: 32_767, step: 0 };
const recurrentQuantisers = { int8: sixteenBits, compact: eightBits } as const;
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
  const packer = new Packer(quantisers[tier]);
  for (const { keys, values } of caches) {
    const turned = keys.slice();
    rotateKeys(turned, layout, range, 'back');
    packer.add(turned, keyLines(layout, range.count));
    packer.add(values, valueLines(layout, range.count));
  }
  return packer.finish();
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
  const floats = rows.flatMap(({ keys, values }) => [keys, values]);
  if (tier === 'exact') {
    unplane(payload, floats);
    return rows;
  }
  const lines = [keyLines(layout, range.count), valueLines(layout, range.count)];
  unpack(
    payload,
    floats.map((values, at) => ({ values, lines: lines[at % 2] ?? [] })),
    quantisers[tier],
  );
  for (const { keys } of rows) rotateKeys(keys, layout, range, 'forth');
  return rows;
}

/** The convolution's and the scan's states of all layers → the payload of a page. */
export function encodeRecurrent(
  conv: readonly Float32Array[],
  ssm: readonly Float32Array[],
  tier: CodecTier,
): Uint8Array {
  if (tier === 'exact') return toPlanes([...conv, ...ssm]);
  const parts = [packed(conv, sixteenBits), packed(ssm, recurrentQuantisers[tier])];
  return new Uint8Array(Buffer.concat(parts));
}

export function decodeRecurrent(payload: Uint8Array, tier: CodecTier, layout: StateLayout) {
  const floatsOf = ([rows, channels]: readonly [number, number]) =>
    Array.from({ length: layout.layers }, () => sharedFloats(rows * channels));
  const state = { conv: floatsOf(layout.conv), ssm: floatsOf(layout.ssm) };
  if (tier === 'exact') {
    unplane(payload, [...state.conv, ...state.ssm]);
    return state;
  }
  const rest = unpackSome(payload, blocksOf(state.conv), sixteenBits);
  unpack(rest, blocksOf(state.ssm), recurrentQuantisers[tier]);
  return state;
}

interface Target {
  readonly values: Float32Array;
  readonly lines: readonly Line[];
}

/** A channel of a key head keeps its size over many tokens, so that is what shares a scale. */
function keyLines({ kvHeads, keySize }: StateLayout, count: number): Line[] {
  return Array.from({ length: kvHeads * keySize }, (_, line) => ({
    first: Math.floor(line / keySize) * count * keySize + (line % keySize),
    stride: keySize,
    count,
  }));
}

/** Of values, one token of one head. */
function valueLines({ kvHeads, valueSize }: StateLayout, count: number): Line[] {
  return Array.from({ length: kvHeads * count }, (_, row) => ({
    first: row * valueSize,
    stride: 1,
    count: valueSize,
  }));
}

function blocksOf(parts: readonly Float32Array[]): Target[] {
  return parts.map((values) => ({
    values,
    lines: Array.from({ length: Math.ceil(values.length / block) }, (_, at) => ({
      first: at * block,
      stride: 1,
      count: Math.min(block, values.length - at * block),
    })),
  }));
}

/** Gathers scales and codes: all scales come first, and then the codes in the fewest whole bytes. */
class Packer {
  readonly #quantiser: Quantiser;
  readonly #scales: number[] = [];
  readonly #codes: Uint8Array[] = [];

  constructor(quantiser: Quantiser) {
    this.#quantiser = quantiser;
  }

  add(values: Float32Array, lines: readonly Line[]): void {
    const wide = this.#quantiser.limit > 255;
    const codes = wide ? new Uint16Array(values.length) : new Uint8Array(values.length);
    for (const line of lines) this.#scales.push(quantiseLine(values, codes, line, this.#quantiser));
    this.#codes.push(this.#quantiser.limit <= 7 ? toNibbles(codes) : new Uint8Array(codes.buffer));
  }

  finish(): Uint8Array {
    const scales = new Uint8Array(Uint16Array.from(this.#scales).buffer);
    return new Uint8Array(Buffer.concat([scales, ...this.#codes]));
  }
}

function packed(parts: readonly Float32Array[], quantiser: Quantiser): Uint8Array {
  const packer = new Packer(quantiser);
  for (const { values, lines } of blocksOf(parts)) packer.add(values, lines);
  return packer.finish();
}

function unpack(payload: Uint8Array, targets: readonly Target[], quantiser: Quantiser): void {
  const rest = unpackSome(payload, targets, quantiser);
  if (rest.length > 0) throw wrongSize(payload.length, payload.length - rest.length);
}

/** Gives what comes after the targets. */
function unpackSome(payload: Uint8Array, targets: readonly Target[], quantiser: Quantiser): Uint8Array {
  const { limit } = quantiser;
  const scaleCount = targets.reduce((sum, { lines }) => sum + lines.length, 0);
  const bytesOf = (values: Float32Array) =>
    limit > 255 ? 2 * values.length : limit <= 7 ? values.length >> 1 : values.length;
  const size = targets.reduce((sum, { values }) => sum + bytesOf(values), 2 * scaleCount);
  if (payload.length < size) throw wrongSize(payload.length, size);
  const scales = new Uint16Array(payload.slice(0, 2 * scaleCount).buffer);
  let at = 2 * scaleCount;
  let scale = 0;
  for (const { values, lines } of targets) {
    const bytes = payload.slice(at, at + bytesOf(values));
    at += bytes.length;
    const codes = limit > 255 ? new Uint16Array(bytes.buffer) : limit <= 7 ? fromNibbles(bytes) : bytes;
    for (const line of lines) dequantiseLine(codes, values, line, quantiser, scales[scale++] ?? 0);
  }
  return payload.subarray(at);
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
