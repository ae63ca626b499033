/** Floats as codes, and back. A line are the values that share a scale. */

/**
 * Root mean square and largest value decide a line's scale: see FORMAT.md. Gives four lines' scales, as bfloat16 bits; those
 * mean nothing where `squares` is not finite.
 */
@inline
function scaleBits(largest: v128, squares: v128, count: i32, limit: f32, step: f32, coarse: u32): v128 {
  const spread = f32x4.sqrt(f32x4.div(squares, f32x4.splat(<f32>count)));
  const scale = f32x4.pmax(f32x4.div(largest, f32x4.splat(limit)), f32x4.mul(spread, f32x4.splat(step)));
  // Rounded up, so that the largest value stays in range; `coarse` are the low bits that stay zero.
  const low = i32x4.splat(coarse);
  const rounded = v128.andnot(i32x4.add(scale, low), low);
  return i32x4.shr_u(i32x4.min_u(rounded, i32x4.splat(0x7f7f0000)), 16);
}

/** Stores one line's scale and gives its inverse, or -1 where a value is none. */
@inline
function storeScale(largest: f32, squares: f32, count: i32, limit: f32, step: f32, coarse: u32, scale: usize): f32 {
  if (!isFinite(squares)) return -1;
  const bits = i32x4.extract_lane(
    scaleBits(f32x4.splat(largest), f32x4.splat(squares), count, limit, step, coarse),
    0,
  );
  store<u16>(scale, <u16>bits);
  return bits == 0 ? 0 : 1 / scaleOf(bits);
}

@inline
function scaleOf(bits: i32): f32 {
  return reinterpret<f32>(bits << 16);
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

/** Stores four lines' scales and gives their inverses. */
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
  const bits = scaleBits(largest, squares, count, limit, step, coarse);
  v128.store64_lane(scales, i16x8.narrow_i32x4_u(bits, bits), 0);
  const inverse = f32x4.div(f32x4.splat(1), i32x4.shl(bits, 16));
  return v128.and(inverse, i32x4.ne(bits, i32x4.splat(0)));
}

/** As `storeScale`, of a line of `length` floats, a multiple of 16, that lie side by side. */
@inline
function storeScaleOf(values: usize, length: i32, limit: f32, step: f32, coarse: u32, scale: usize): f32 {
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
  return storeScale(largest, horizontalSum(squares), length, limit, step, coarse, scale);
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
  const inverse = storeScale(largest, squares, count, limit, step, coarse, scale);
  if (inverse < 0) return false;
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
    const inverse = storeScaleOf(first, length, limit, step, coarse, scale);
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
    const inverse = storeScaleOf(first, length, limit, step, coarse, scale);
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
