/**
 * The codec's hot loops, in AssemblyScript: `npm run build` compiles them to `kernels.wasm`. Pointers are byte offsets into
 * the module's memory, which the caller lays out; any length is right, multiples of 16 are fast.
 */

/** Root mean square and largest value decide a line's scale: see FORMAT.md. Gives the scale's bfloat16 bits, or -1 where a value is none. */
function scaleBits(largest: f32, squares: f32, count: i32, limit: f32, step: f32, coarse: u32): i32 {
  if (!isFinite(squares)) return -1;
  const scale: f32 = max(largest / limit, step * sqrt(squares / <f32>count));
  // Rounded up, so that the largest value stays in range; `coarse` are the low bits that stay zero.
  const bits: u32 = (reinterpret<u32>(scale) + coarse) & ~coarse;
  return min(bits, 0x7f7f0000) >>> 16;
}

@inline
function scaleOf(bits: i32): f32 {
  return reinterpret<f32>(bits << 16);
}

@inline
function inverseOf(bits: i32): f32 {
  return bits == 0 ? 0 : 1 / scaleOf(bits);
}

/** Added to a float between 0 and 2^23, it rounds it to the whole number that its lowest bits then are. */
const rounding: f32 = 8_388_608;

/** Codes in the lowest bits; `offset` is `limit + rounding`. */
@inline
function codesOf(values: v128, inverse: v128, offset: v128): v128 {
  return f32x4.add(f32x4.mul(values, inverse), offset);
}

/** The lowest bytes of 16 words. */
@inline
function lowBytes(a: v128, b: v128, c: v128, d: v128): v128 {
  const byte = i32x4.splat(0xff);
  return i8x16.narrow_i16x8_u(
    i16x8.narrow_i32x4_u(v128.and(a, byte), v128.and(b, byte)),
    i16x8.narrow_i32x4_u(v128.and(c, byte), v128.and(d, byte)),
  );
}

@inline
function valuesOf(codes: v128, offset: v128, scale: v128): v128 {
  return f32x4.mul(f32x4.convert_i32x4_s(i32x4.sub(codes, offset)), scale);
}

/** What 16 codes of a byte stand for, each four with scales of their own. */
@inline
function storeValues(
  codes: v128,
  offset: v128,
  scale0: v128,
  scale1: v128,
  scale2: v128,
  scale3: v128,
  values: usize,
): void {
  const low = i16x8.extend_low_i8x16_u(codes);
  const high = i16x8.extend_high_i8x16_u(codes);
  v128.store(values, valuesOf(i32x4.extend_low_i16x8_u(low), offset, scale0));
  v128.store(values, valuesOf(i32x4.extend_high_i16x8_u(low), offset, scale1), 16);
  v128.store(values, valuesOf(i32x4.extend_low_i16x8_u(high), offset, scale2), 32);
  v128.store(values, valuesOf(i32x4.extend_high_i16x8_u(high), offset, scale3), 48);
}

@inline
function horizontalMax(values: v128): f32 {
  return max(
    max(f32x4.extract_lane(values, 0), f32x4.extract_lane(values, 1)),
    max(f32x4.extract_lane(values, 2), f32x4.extract_lane(values, 3)),
  );
}

@inline
function horizontalSum(values: v128): f32 {
  return (
    f32x4.extract_lane(values, 0) +
    f32x4.extract_lane(values, 1) +
    (f32x4.extract_lane(values, 2) + f32x4.extract_lane(values, 3))
  );
}

@inline
function allFinite(values: v128): bool {
  return i32x4.all_true(f32x4.lt(values, f32x4.splat(Infinity)));
}

/** As `scaleBits`, of four lines at once: stores their scales and gives the inverses of these. */
@inline
function storeScales(
  largest: v128,
  squares: v128,
  count: i32,
  limit: f32,
  step: f32,
  coarse: u32,
  scales: usize,
): v128 {
  const spread = f32x4.sqrt(f32x4.div(squares, f32x4.splat(<f32>count)));
  const scale = f32x4.pmax(f32x4.div(largest, f32x4.splat(limit)), f32x4.mul(spread, f32x4.splat(step)));
  const low = i32x4.splat(coarse);
  const rounded = v128.andnot(i32x4.add(scale, low), low);
  const bits = i32x4.shr_u(i32x4.min_u(rounded, i32x4.splat(0x7f7f0000)), 16);
  v128.store64_lane(scales, i16x8.narrow_i32x4_u(bits, bits), 0);
  const inverse = f32x4.div(f32x4.splat(1), i32x4.shl(bits, 16));
  return v128.and(inverse, i32x4.ne(bits, i32x4.splat(0)));
}

/**
 * Root mean square and largest value of `length` floats, a multiple of 16, decide their scale, which is stored. Gives its
 * inverse, or -1 where a value is none.
 */
@inline
function storeScale(values: usize, length: i32, limit: f32, step: f32, coarse: u32, scale: usize): f32 {
  const end = values + (<usize>length << 2);
  let largest0 = f32x4.splat(0);
  let largest1 = largest0;
  let squares0 = largest0;
  let squares1 = largest0;
  let squares2 = largest0;
  let squares3 = largest0;
  for (let at = values; at < end; at += 64) {
    const a = v128.load(at);
    const b = v128.load(at, 16);
    const c = v128.load(at, 32);
    const d = v128.load(at, 48);
    largest0 = f32x4.pmax(largest0, f32x4.pmax(f32x4.abs(a), f32x4.abs(b)));
    largest1 = f32x4.pmax(largest1, f32x4.pmax(f32x4.abs(c), f32x4.abs(d)));
    squares0 = f32x4.add(squares0, f32x4.mul(a, a));
    squares1 = f32x4.add(squares1, f32x4.mul(b, b));
    squares2 = f32x4.add(squares2, f32x4.mul(c, c));
    squares3 = f32x4.add(squares3, f32x4.mul(d, d));
  }
  const squares = f32x4.add(f32x4.add(squares0, squares1), f32x4.add(squares2, squares3));
  const largest = horizontalMax(f32x4.pmax(largest0, largest1));
  const bits = scaleBits(largest, horizontalSum(squares), length, limit, step, coarse);
  if (bits < 0) return -1;
  store<u16>(scale, <u16>bits);
  return inverseOf(bits);
}

/** One line of values `stride` floats apart, and so its codes; their high bytes go to `high` where that is not 0. */
function quantiseLine(
  values: usize,
  stride: usize,
  count: i32,
  limit: f32,
  step: f32,
  coarse: u32,
  scale: usize,
  codes: usize,
  high: usize,
): bool {
  const end = stride * <usize>count;
  let largest: f32 = 0;
  let squares: f32 = 0;
  for (let at: usize = 0; at < end; at += stride) {
    const value = load<f32>(values + (at << 2));
    largest = max(largest, abs(value));
    squares += value * value;
  }
  const bits = scaleBits(largest, squares, count, limit, step, coarse);
  if (bits < 0) return false;
  store<u16>(scale, <u16>bits);
  const inverse = inverseOf(bits);
  for (let at: usize = 0; at < end; at += stride) {
    const code = reinterpret<u32>(load<f32>(values + (at << 2)) * inverse + (limit + rounding));
    store<u8>(codes + at, <u8>code);
    if (high != 0) store<u8>(high + at, <u8>(code >>> 8));
  }
  return true;
}

/**
 * Values [rows, columns] as codes of a byte each, every column with a scale of its own, `columns` of them as 16 bits each.
 * Gives false where a value is none.
 */
export function quantiseColumns(
  values: usize,
  rows: i32,
  columns: i32,
  limit: f32,
  step: f32,
  coarse: u32,
  scales: usize,
  codes: usize,
): bool {
  const stride: usize = columns;
  const end = stride * <usize>rows;
  const whole = stride & ~15;
  const offset = f32x4.splat(limit + rounding);
  for (let column: usize = 0; column < whole; column += 16) {
    const first = values + (column << 2);
    let largest0 = f32x4.splat(0);
    let largest1 = largest0;
    let largest2 = largest0;
    let largest3 = largest0;
    let squares0 = largest0;
    let squares1 = largest0;
    let squares2 = largest0;
    let squares3 = largest0;
    for (let at: usize = 0; at < end; at += stride) {
      const from = first + (at << 2);
      const a = v128.load(from);
      const b = v128.load(from, 16);
      const c = v128.load(from, 32);
      const d = v128.load(from, 48);
      largest0 = f32x4.pmax(largest0, f32x4.abs(a));
      largest1 = f32x4.pmax(largest1, f32x4.abs(b));
      largest2 = f32x4.pmax(largest2, f32x4.abs(c));
      largest3 = f32x4.pmax(largest3, f32x4.abs(d));
      squares0 = f32x4.add(squares0, f32x4.mul(a, a));
      squares1 = f32x4.add(squares1, f32x4.mul(b, b));
      squares2 = f32x4.add(squares2, f32x4.mul(c, c));
      squares3 = f32x4.add(squares3, f32x4.mul(d, d));
    }
    if (!(allFinite(squares0) && allFinite(squares1) && allFinite(squares2) && allFinite(squares3))) return false;
    const scale = scales + (column << 1);
    const inverse0 = storeScales(largest0, squares0, rows, limit, step, coarse, scale);
    const inverse1 = storeScales(largest1, squares1, rows, limit, step, coarse, scale + 8);
    const inverse2 = storeScales(largest2, squares2, rows, limit, step, coarse, scale + 16);
    const inverse3 = storeScales(largest3, squares3, rows, limit, step, coarse, scale + 24);
    for (let at: usize = 0; at < end; at += stride) {
      const from = first + (at << 2);
      const some = lowBytes(
        codesOf(v128.load(from), inverse0, offset),
        codesOf(v128.load(from, 16), inverse1, offset),
        codesOf(v128.load(from, 32), inverse2, offset),
        codesOf(v128.load(from, 48), inverse3, offset),
      );
      v128.store(codes + at + column, some);
    }
  }
  for (let column = whole; column < stride; column++) {
    const first = values + (column << 2);
    const scale = scales + (column << 1);
    if (!quantiseLine(first, stride, rows, limit, step, coarse, scale, codes + column, 0)) return false;
  }
  return true;
}

export function dequantiseColumns(
  codes: usize,
  rows: i32,
  columns: i32,
  limit: f32,
  scales: usize,
  values: usize,
): void {
  const stride: usize = columns;
  const end = stride * <usize>rows;
  const whole = stride & ~15;
  const offset = i32x4.splat(<i32>limit);
  for (let column: usize = 0; column < whole; column += 16) {
    const scale = scales + (column << 1);
    const scale0 = i32x4.shl(v128.load16x4_u(scale), 16);
    const scale1 = i32x4.shl(v128.load16x4_u(scale, 8), 16);
    const scale2 = i32x4.shl(v128.load16x4_u(scale, 16), 16);
    const scale3 = i32x4.shl(v128.load16x4_u(scale, 24), 16);
    for (let at = column; at < end; at += stride) {
      storeValues(v128.load(codes + at), offset, scale0, scale1, scale2, scale3, values + (at << 2));
    }
  }
  for (let column = whole; column < stride; column++) {
    const scale = scaleOf(load<u16>(scales + (column << 1)));
    for (let at = column; at < end; at += stride) {
      store<f32>(values + (at << 2), (<f32>load<u8>(codes + at) - limit) * scale);
    }
  }
}

/** Values as codes of one byte each, every `width` of them with a scale of their own, the last ones fewer. Gives false where a value is none. */
export function quantiseRows(
  values: usize,
  count: i32,
  width: i32,
  limit: f32,
  step: f32,
  coarse: u32,
  scales: usize,
  codes: usize,
): bool {
  const offset = f32x4.splat(limit + rounding);
  let scale = scales;
  for (let start = 0; start < count; start += width, scale += 2) {
    const first = values + (<usize>start << 2);
    const length = min(width, count - start);
    if (length & 15) {
      if (!quantiseLine(first, 1, length, limit, step, coarse, scale, codes + start, 0)) return false;
      continue;
    }
    const inverse = storeScale(first, length, limit, step, coarse, scale);
    if (inverse < 0) return false;
    const all = f32x4.splat(inverse);
    const end = first + (<usize>length << 2);
    let code = codes + start;
    for (let at = first; at < end; at += 64, code += 16) {
      const some = lowBytes(
        codesOf(v128.load(at), all, offset),
        codesOf(v128.load(at, 16), all, offset),
        codesOf(v128.load(at, 32), all, offset),
        codesOf(v128.load(at, 48), all, offset),
      );
      v128.store(code, some);
    }
  }
  return true;
}

export function dequantiseRows(
  codes: usize,
  count: i32,
  width: i32,
  limit: f32,
  scales: usize,
  values: usize,
): void {
  let from = scales;
  const offset = i32x4.splat(<i32>limit);
  for (let start = 0; start < count; start += width, from += 2) {
    const scale = scaleOf(load<u16>(from));
    const all = f32x4.splat(scale);
    const end = min(start + width, count);
    const whole = end - ((end - start) & 15);
    let at: usize = start;
    for (; at < <usize>whole; at += 16) {
      storeValues(v128.load(codes + at), offset, all, all, all, all, values + (at << 2));
    }
    for (; at < <usize>end; at++) store<f32>(values + (at << 2), (<f32>load<u8>(codes + at) - limit) * scale);
  }
}

/** As `quantiseRows`, with codes of two bytes each: the low ones at `codes`, the high ones at `high`. */
export function quantiseWide(
  values: usize,
  count: i32,
  width: i32,
  limit: f32,
  step: f32,
  coarse: u32,
  scales: usize,
  codes: usize,
  high: usize,
): bool {
  const offset = f32x4.splat(limit + rounding);
  let scale = scales;
  for (let start = 0; start < count; start += width, scale += 2) {
    const length = min(width, count - start);
    const first = values + (<usize>start << 2);
    if (length & 15) {
      if (!quantiseLine(first, 1, length, limit, step, coarse, scale, codes + start, high + start)) return false;
      continue;
    }
    const inverse = storeScale(first, length, limit, step, coarse, scale);
    if (inverse < 0) return false;
    const all = f32x4.splat(inverse);
    const end = first + (<usize>length << 2);
    let code: usize = start;
    for (let at = first; at < end; at += 64, code += 16) {
      const a = codesOf(v128.load(at), all, offset);
      const b = codesOf(v128.load(at, 16), all, offset);
      const c = codesOf(v128.load(at, 32), all, offset);
      const d = codesOf(v128.load(at, 48), all, offset);
      v128.store(codes + code, lowBytes(a, b, c, d));
      const highBytes = lowBytes(
        i32x4.shr_u(a, 8),
        i32x4.shr_u(b, 8),
        i32x4.shr_u(c, 8),
        i32x4.shr_u(d, 8),
      );
      v128.store(high + code, highBytes);
    }
  }
  return true;
}

export function dequantiseWide(
  codes: usize,
  count: i32,
  width: i32,
  limit: f32,
  scales: usize,
  values: usize,
  high: usize,
): void {
  const offset = i32x4.splat(<i32>limit);
  let from = scales;
  for (let start = 0; start < count; start += width, from += 2) {
    const scale = scaleOf(load<u16>(from));
    const all = f32x4.splat(scale);
    const end = min(start + width, count);
    const whole = end - ((end - start) & 15);
    let at: usize = start;
    for (; at < <usize>whole; at += 16) {
      const lows = v128.load(codes + at);
      const highs = v128.load(high + at);
      const first = v128.shuffle<u8>(lows, highs, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      const last = v128.shuffle<u8>(lows, highs, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
      const to = values + (at << 2);
      v128.store(to, valuesOf(i32x4.extend_low_i16x8_u(first), offset, all));
      v128.store(to, valuesOf(i32x4.extend_high_i16x8_u(first), offset, all), 16);
      v128.store(to, valuesOf(i32x4.extend_low_i16x8_u(last), offset, all), 32);
      v128.store(to, valuesOf(i32x4.extend_high_i16x8_u(last), offset, all), 48);
    }
    for (; at < <usize>end; at++) {
      const code = <u32>load<u8>(codes + at) | (<u32>load<u8>(high + at) << 8);
      store<f32>(values + (at << 2), (<f32>code - limit) * scale);
    }
  }
}

/**
 * Turns keys [heads, rows, size] in place: element i of a row's first half with element i of its second by the angle whose
 * cosine and sine, [rows, size / 2] each, lie at `cos` and `sin`.
 */
export function rotate(keys: usize, heads: i32, rows: i32, size: i32, cos: usize, sin: usize): void {
  const half = <usize>(size >> 1) << 2;
  const whole = half & ~15;
  const table = <usize>rows * half;
  let a = keys;
  for (let head = 0; head < heads; head++) {
    for (let row: usize = 0; row < table; row += half, a += half << 1) {
      const b = a + half;
      const c = cos + row;
      const s = sin + row;
      let i: usize = 0;
      for (; i < whole; i += 16) {
        const x = v128.load(a + i);
        const y = v128.load(b + i);
        const u = v128.load(c + i);
        const v = v128.load(s + i);
        v128.store(a + i, f32x4.sub(f32x4.mul(x, u), f32x4.mul(y, v)));
        v128.store(b + i, f32x4.add(f32x4.mul(y, u), f32x4.mul(x, v)));
      }
      for (; i < half; i += 4) {
        const x = load<f32>(a + i);
        const y = load<f32>(b + i);
        store<f32>(a + i, x * load<f32>(c + i) - y * load<f32>(s + i));
        store<f32>(b + i, y * load<f32>(c + i) + x * load<f32>(s + i));
      }
    }
  }
}

/** Four words' bytes, the lowest of all first. */
@inline
function byPlane(words: v128): v128 {
  return v128.shuffle<u8>(words, words, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
}

/** The sign goes below the mantissa, which leaves the exponent a byte of its own. */
@inline
function turnLeft(words: v128): v128 {
  return byPlane(v128.or(i32x4.shl(words, 1), i32x4.shr_u(words, 31)));
}

@inline
function turnRight(bytes: v128): v128 {
  return v128.or(i32x4.shr_u(bytes, 1), i32x4.shl(bytes, 31));
}

/** Floats, from number `first` of `total` on, as four planes of `total` bytes each: all highest bytes, all next ones … */
export function toPlanes(values: usize, count: i32, planes: usize, first: i32, total: i32): void {
  const stride = <usize>total;
  const plane0 = planes + first;
  const plane1 = plane0 + stride;
  const plane2 = plane1 + stride;
  const plane3 = plane2 + stride;
  const whole = count & ~15;
  let at: usize = 0;
  for (; at < <usize>whole; at += 16) {
    const source = values + (at << 2);
    const a = turnLeft(v128.load(source));
    const b = turnLeft(v128.load(source, 16));
    const c = turnLeft(v128.load(source, 32));
    const d = turnLeft(v128.load(source, 48));
    const ab01 = v128.shuffle<u32>(a, b, 0, 4, 1, 5);
    const ab23 = v128.shuffle<u32>(a, b, 2, 6, 3, 7);
    const cd01 = v128.shuffle<u32>(c, d, 0, 4, 1, 5);
    const cd23 = v128.shuffle<u32>(c, d, 2, 6, 3, 7);
    v128.store(plane3 + at, v128.shuffle<u64>(ab01, cd01, 0, 2));
    v128.store(plane2 + at, v128.shuffle<u64>(ab01, cd01, 1, 3));
    v128.store(plane1 + at, v128.shuffle<u64>(ab23, cd23, 0, 2));
    v128.store(plane0 + at, v128.shuffle<u64>(ab23, cd23, 1, 3));
  }
  for (; at < <usize>count; at++) {
    const turned = rotl(load<u32>(values + (at << 2)), 1);
    store<u8>(plane0 + at, turned >>> 24);
    store<u8>(plane1 + at, turned >>> 16);
    store<u8>(plane2 + at, turned >>> 8);
    store<u8>(plane3 + at, turned);
  }
}

export function fromPlanes(planes: usize, first: i32, total: i32, values: usize, count: i32): void {
  const stride = <usize>total;
  const plane0 = planes + first;
  const plane1 = plane0 + stride;
  const plane2 = plane1 + stride;
  const plane3 = plane2 + stride;
  const whole = count & ~15;
  let at: usize = 0;
  for (; at < <usize>whole; at += 16) {
    const p0 = v128.load(plane0 + at);
    const p1 = v128.load(plane1 + at);
    const p2 = v128.load(plane2 + at);
    const p3 = v128.load(plane3 + at);
    const low0 = v128.shuffle<u8>(p3, p2, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const low1 = v128.shuffle<u8>(p3, p2, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    const high0 = v128.shuffle<u8>(p1, p0, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const high1 = v128.shuffle<u8>(p1, p0, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    const target = values + (at << 2);
    v128.store(target, turnRight(v128.shuffle<u16>(low0, high0, 0, 8, 1, 9, 2, 10, 3, 11)));
    v128.store(target, turnRight(v128.shuffle<u16>(low0, high0, 4, 12, 5, 13, 6, 14, 7, 15)), 16);
    v128.store(target, turnRight(v128.shuffle<u16>(low1, high1, 0, 8, 1, 9, 2, 10, 3, 11)), 32);
    v128.store(target, turnRight(v128.shuffle<u16>(low1, high1, 4, 12, 5, 13, 6, 14, 7, 15)), 48);
  }
  for (; at < <usize>count; at++) {
    const turned =
      (<u32>load<u8>(plane0 + at) << 24) |
      (<u32>load<u8>(plane1 + at) << 16) |
      (<u32>load<u8>(plane2 + at) << 8) |
      <u32>load<u8>(plane3 + at);
    store<u32>(values + (at << 2), rotr(turned, 1));
  }
}

/** Powers of two that take the exponent of a float16 number, where its bits lie in a float32, to that of a float32 and back. */
const halfToSingle: f32 = reinterpret<f32>((127 + 112) << 23);
const singleToHalf: f32 = reinterpret<f32>((127 - 112) << 23);
/** Those of 65,504 below its sign: beyond them nothing is finite. */
const largestHalf: u32 = 0xf7ff;

/** Four floats as float16 bits with the sign below the mantissa, in 32 bits each. */
@inline
function halvesOf(values: v128): v128 {
  const sizes = i32x4.shr_u(f32x4.mul(f32x4.abs(values), f32x4.splat(singleToHalf)), 13);
  return v128.or(i32x4.shl(sizes, 1), i32x4.shr_u(values, 31));
}

@inline
function singlesOf(halves: v128): v128 {
  const sizes = f32x4.mul(i32x4.shl(i32x4.shr_u(halves, 1), 13), f32x4.splat(halfToSingle));
  return v128.or(sizes, i32x4.shl(halves, 31));
}

/** Has bits where a float is not what its `halves` say. */
@inline
function lost(values: v128, halves: v128): v128 {
  return v128.or(v128.xor(singlesOf(halves), values), i32x4.gt_u(halves, i32x4.splat(largestHalf)));
}

@inline
function singleOf(half: u32): u32 {
  const size: f32 = reinterpret<f32>((half >>> 1) << 13) * halfToSingle;
  return reinterpret<u32>(size) | (half << 31);
}

/**
 * Values [rows, columns] as float16 bits with the sign below the mantissa, their high bytes at `high` and their low ones at
 * `low`. Each column's largest exponent is taken off its exponents and put to `offsets`, as it lies in a high byte. Gives
 * false where a value is no finite float16 number.
 */
export function toHalves(values: usize, rows: i32, columns: i32, offsets: usize, high: usize, low: usize): bool {
  const stride: usize = columns;
  const end = stride * <usize>rows;
  const whole = stride & ~15;
  const lowByte = i16x8.splat(0xff);
  for (let column: usize = 0; column < whole; column += 16) {
    let largest = i8x16.splat(0);
    let wrong = i32x4.splat(0);
    for (let at = column; at < end; at += stride) {
      const source = values + (at << 2);
      const a = v128.load(source);
      const b = v128.load(source, 16);
      const c = v128.load(source, 32);
      const d = v128.load(source, 48);
      const ah = halvesOf(a);
      const bh = halvesOf(b);
      const ch = halvesOf(c);
      const dh = halvesOf(d);
      wrong = v128.or(wrong, v128.or(v128.or(lost(a, ah), lost(b, bh)), v128.or(lost(c, ch), lost(d, dh))));
      const ab = i16x8.narrow_i32x4_u(ah, bh);
      const cd = i16x8.narrow_i32x4_u(ch, dh);
      const tops = i8x16.narrow_i16x8_u(i16x8.shr_u(ab, 8), i16x8.shr_u(cd, 8));
      largest = i8x16.max_u(largest, tops);
      v128.store(high + at, tops);
      v128.store(low + at, i8x16.narrow_i16x8_u(v128.and(ab, lowByte), v128.and(cd, lowByte)));
    }
    if (v128.any_true(wrong)) return false;
    largest = v128.and(largest, i8x16.splat(<i8>0xf8));
    v128.store(offsets + column, largest);
    for (let at = column; at < end; at += stride) {
      v128.store(high + at, i8x16.sub(v128.load(high + at), largest));
    }
  }
  for (let column = whole; column < stride; column++) {
    let largest: u32 = 0;
    for (let at = column; at < end; at += stride) {
      const bits = load<u32>(values + (at << 2));
      const size: f32 = reinterpret<f32>(bits & 0x7fffffff) * singleToHalf;
      const half = ((reinterpret<u32>(size) >>> 13) << 1) | (bits >>> 31);
      if (half > largestHalf || singleOf(half) != bits) return false;
      largest = max(largest, half >>> 8);
      store<u8>(high + at, half >>> 8);
      store<u8>(low + at, half);
    }
    largest &= 0xf8;
    store<u8>(offsets + column, largest);
    for (let at = column; at < end; at += stride) store<u8>(high + at, <u32>load<u8>(high + at) - largest);
  }
  return true;
}

export function fromHalves(high: usize, low: usize, rows: i32, columns: i32, offsets: usize, values: usize): void {
  const stride: usize = columns;
  const end = stride * <usize>rows;
  const whole = stride & ~15;
  for (let column: usize = 0; column < whole; column += 16) {
    const largest = v128.load(offsets + column);
    for (let at = column; at < end; at += stride) {
      const tops = i8x16.add(v128.load(high + at), largest);
      const bottoms = v128.load(low + at);
      const ab = v128.shuffle<u8>(bottoms, tops, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      const cd = v128.shuffle<u8>(bottoms, tops, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
      const target = values + (at << 2);
      v128.store(target, singlesOf(i32x4.extend_low_i16x8_u(ab)));
      v128.store(target, singlesOf(i32x4.extend_high_i16x8_u(ab)), 16);
      v128.store(target, singlesOf(i32x4.extend_low_i16x8_u(cd)), 32);
      v128.store(target, singlesOf(i32x4.extend_high_i16x8_u(cd)), 48);
    }
  }
  for (let column = whole; column < stride; column++) {
    const largest = <u32>load<u8>(offsets + column);
    for (let at = column; at < end; at += stride) {
      const top = (<u32>load<u8>(high + at) + largest) & 0xff;
      store<u32>(values + (at << 2), singleOf((top << 8) | <u32>load<u8>(low + at)));
    }
  }
}
