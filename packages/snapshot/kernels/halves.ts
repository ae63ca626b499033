/** float16 numbers as two planes of bytes, and back. */

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
