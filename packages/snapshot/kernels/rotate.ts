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
