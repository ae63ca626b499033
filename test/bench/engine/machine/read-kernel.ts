const get = (local: number) => [0x20, local];
const set = (local: number) => [0x21, local];
const i32Const = (value: number) => [0x41, ...signedLeb128(value)];
const i32Add = 0x6a;
const i32LessUnsigned = 0x49;
const loadVector = (offset: number) => [0xfd, 0x00, 4, ...unsignedLeb128(offset)];
const addVectors = [0xfd, 0xce, 0x01];
const firstLane = [0xfd, 0x1d, 0x00];

/** Independent sums, so that no addition waits for the one before. */
const sums = 8;
/** The kernel reads in steps of so many bytes. */
export const readStep = 16 * sums;

/**
 * A WebAssembly module with `sum(begin, end)`: adds up the even 64-bit words of the imported memory `m.m`, reading every
 * byte once with 128-bit loads. JavaScript alone reads with scalar loads, which do not keep up with memory.
 */
export function readKernel(): Uint8Array<ArrayBuffer> {
  const [begin, end, firstSum] = [0, 1, 2];
  const all = Array.from({ length: sums }, (_, i) => firstSum + i);
  const body = [
    ...[1, sums, 0x7b], // locals: `sums` of v128
    ...[0x03, 0x40], // loop
    ...all.flatMap((sum, i) => [
      ...get(sum),
      ...get(begin),
      ...loadVector(16 * i),
      ...addVectors,
      ...set(sum),
    ]),
    ...[...get(begin), ...i32Const(readStep), i32Add, ...set(begin)],
    ...[...get(begin), ...get(end), i32LessUnsigned, 0x0d, 0x00], // again while begin < end
    0x0b,
    ...all.flatMap((sum, i) => (i === 0 ? get(sum) : [...get(sum), ...addVectors])),
    ...firstLane,
    0x0b,
  ];
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [1, 0x60, 2, 0x7f, 0x7f, 1, 0x7e]), // (i32, i32) → i64
    ...section(2, [1, ...name('m'), ...name('m'), 0x02, 0x00, 1]), // a memory of at least one page
    ...section(3, [1, 0]),
    ...section(7, [1, ...name('sum'), 0x00, 0]),
    ...section(10, [1, ...unsignedLeb128(body.length), ...body]),
  ]);
}

function section(id: number, content: readonly number[]): number[] {
  return [id, ...unsignedLeb128(content.length), ...content];
}

function name(text: string): number[] {
  return [text.length, ...Buffer.from(text)];
}

function unsignedLeb128(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsignedLeb128(value >>> 7)];
}

/** Of a value that is not negative. */
function signedLeb128(value: number): number[] {
  return value < 0x40 ? [value] : [(value & 0x7f) | 0x80, ...signedLeb128(value >>> 7)];
}
