/** Floats as planes of their bytes, and back. */

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
