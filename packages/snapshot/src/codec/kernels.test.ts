import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import packageJson from '../../package.json' with { type: 'json' };
import { KernelMemory } from './kernels.ts';

const folder = fileURLToPath(new URL('../..', import.meta.url));

it('kernels.wasm is what kernels.ts compiles to', async () => {
  const output = await mkdtemp(join(tmpdir(), 'baton-kernels-'));
  const [command, ...args] = packageJson.scripts.build.split(' ');
  const compiled = join(output, 'kernels.wasm');
  const compiler = join(folder, '../../node_modules/.bin', String(command));
  const compile = args.map((arg) => (arg.endsWith('.wasm') ? compiled : arg));
  await promisify(execFile)(compiler, compile, { cwd: folder });
  expect(await readFile(compiled)).toEqual(await readFile(join(folder, 'kernels/kernels.wasm')));
  await rm(output, { recursive: true });
}, 60_000);

/** Any bits that a float can have. */
const words = fc.uint32Array({ minLength: 1, maxLength: 200 });
const floats = fc.float32Array({ minLength: 1, maxLength: 300, noNaN: true, min: -1e6, max: 1e6 });

describe('planes', () => {
  it('give back every bit of every float, wherever they begin', () => {
    fc.assert(
      fc.property(words, fc.nat(50), (bits, first) => {
        const memory = new KernelMemory();
        const count = bits.length;
        const total = first + count;
        const [values, planes, back] = [
          memory.take(4 * count),
          memory.take(4 * total),
          memory.take(4 * count),
        ];
        const wordsAt = (at: number) => new Uint32Array(memory.bytes(at, 4 * count).slice().buffer);
        memory.bytes(values, 4 * count).set(new Uint8Array(bits.slice().buffer));
        memory.run.toPlanes(values, count, planes, first, total);
        const [bit] = bits;
        expect(memory.bytes(planes, total)[first]).toBe((Number(bit) >>> 23) & 255);
        memory.run.fromPlanes(planes, first, total, back, count);
        expect(wordsAt(back)).toEqual(bits);
      }),
    );
  });
});

describe('float16 numbers', () => {
  /** Any that are finite, those below the normal ones and both zeros among them, as float32. */
  const halves = fc
    .uint16Array({ minLength: 1, maxLength: 400 })
    .map((bits) => Float32Array.from(new Float16Array(bits.slice().buffer)))
    .map((values) => values.map((value) => (Number.isFinite(value) ? value : -0)));

  const pack = (values: Float32Array, columns: number) => {
    const memory = new KernelMemory();
    const rows = Math.ceil(values.length / columns);
    const count = rows * columns;
    const [from, back] = [memory.take(4 * count), memory.take(4 * count)];
    const [offsets, high, low] = [memory.take(columns), memory.take(count), memory.take(count)];
    memory.floats(from, count).set(values);
    const packed = memory.run.toHalves(from, rows, columns, offsets, high, low) === 1;
    memory.run.fromHalves(high, low, rows, columns, offsets, back);
    const wordsAt = (at: number) => new Uint32Array(memory.bytes(at, 4 * count).slice().buffer);
    const tops = memory.bytes(high, count).slice();
    return {
      packed,
      same: Buffer.compare(Buffer.from(wordsAt(from)), Buffer.from(wordsAt(back))) === 0,
      tops,
    };
  };

  it('take two bytes and give back every bit', () => {
    fc.assert(
      fc.property(halves, fc.integer({ min: 1, max: 40 }), (values, columns) => {
        expect(pack(values, columns)).toMatchObject({ packed: true, same: true });
      }),
    );
    const all = Float32Array.from(new Float16Array(Uint16Array.from({ length: 65_536 }, (_, i) => i).buffer));
    expect(pack(all.filter(Number.isFinite), 64)).toMatchObject({ packed: true, same: true });
  });

  it('lose the exponent that a column has in common', () => {
    const values = Float32Array.from({ length: 20 * 3 }, (_, i) => 1024 ** ((i % 20) % 2) * 1.5);
    expect(new Set(pack(values, 20).tops)).toEqual(new Set([0b100]));
  });

  it('are told from all others', () => {
    const others = [0.1, 65_520, 2 ** -25, 2 ** -14 + 2 ** -37, -(2 ** -15) - 2 ** -38, 1e-45, 3e38];
    for (const other of [...others, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      for (let at = 0; at < 37; at++) {
        const values = new Float32Array(37).fill(1);
        values[at] = other;
        for (const columns of [37, 16, 1]) expect(pack(values, columns).packed, `${other}`).toBe(false);
      }
    }
  });
});

describe('a quantiser', () => {
  const forms = ['Columns', 'Rows', 'Wide'] as const;
  const limits = { Columns: 127, Rows: 127, Wide: 32_767 };

  it.each(forms)('is off by half a step at most, by %s', (form) => {
    fc.assert(
      fc.property(floats, fc.integer({ min: 1, max: 70 }), fc.constantFrom(0, 0.5), (given, width, step) => {
        const memory = new KernelMemory();
        const rows = Math.ceil(given.length / width);
        // Columns are of whole rows.
        const numbers =
          form === 'Columns' ? Float32Array.from({ length: rows * width }, (_, i) => given[i] ?? 0) : given;
        const count = numbers.length;
        const most = form === 'Columns' ? rows : count;
        const lines = form === 'Columns' ? width : rows;
        const [values, scales] = [memory.take(4 * count), memory.take(2 * lines)];
        const [codes, back] = [memory.take(2 * count), memory.take(4 * count)];
        memory.floats(values, count).set(numbers);
        const limit = limits[form];
        const high = codes + count;
        expect(
          memory.run[`quantise${form}`](values, most, width, limit, step, 0xffff, scales, codes, high),
        ).toBe(1);
        memory.run[`dequantise${form}`](codes, most, width, limit, scales, back, high);
        const found = memory.floats(back, count);
        const scaleOf = (line: number) => {
          const bits = new Uint16Array(memory.bytes(scales, 2 * lines).slice().buffer)[line] as number;
          return new Float32Array(Uint32Array.of(bits << 16).buffer)[0] as number;
        };
        for (let line = 0; line < lines; line++) {
          const of = numbers.filter(
            (_, at) => line === (form === 'Columns' ? at % width : Math.floor(at / width)),
          );
          const spread = Math.sqrt(of.reduce((sum, value) => sum + value * value, 0) / of.length);
          const least = Math.max(...of.map(Math.abs).map((size) => size / limit), step * spread);
          // Rounded up to seven bits of mantissa; the squares of very small numbers are not exact.
          const excess = scaleOf(line) - least;
          expect(excess).toBeGreaterThanOrEqual(-1e-5 * least - 1e-18);
          expect(excess).toBeLessThanOrEqual((2 ** -7 + 1e-5) * least + 1e-18);
        }
        for (const [at, value] of numbers.entries()) {
          const scale = scaleOf(form === 'Columns' ? at % width : Math.floor(at / width));
          expect(Math.abs((found[at] as number) - value)).toBeLessThanOrEqual(0.51 * scale + 1e-30);
        }
      }),
    );
  });

  it.each(forms)('refuses numbers that are none, by %s', (form) => {
    for (const none of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      for (let at = 0; at < 37; at++) {
        const memory = new KernelMemory();
        const numbers = new Float32Array(37).fill(1);
        numbers[at] = none;
        const [values, scales, codes] = [memory.take(4 * 37), memory.take(2 * 37), memory.take(2 * 37)];
        memory.floats(values, 37).set(numbers);
        const [rows, width] = form === 'Columns' ? [1, 37] : [37, 16];
        const answer = memory.run[`quantise${form}`](
          values,
          rows,
          width,
          127,
          0,
          0xffff,
          scales,
          codes,
          codes + 37,
        );
        expect(answer, `${none} at ${at}`).toBe(0);
      }
    }
  });
});

it('keys turned back and forth again are as they were', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 3 }),
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 20 }),
      (heads, rows, half) => {
        const memory = new KernelMemory();
        const count = heads * rows * 2 * half;
        const [keys, cos, sin] = [
          memory.take(4 * count),
          memory.take(4 * rows * half),
          memory.take(4 * rows * half),
        ];
        const angles = Float32Array.from({ length: rows * half }, (_, i) => i * 0.7);
        memory.floats(keys, count).set(Float32Array.from({ length: count }, (_, i) => i + 1));
        const turn = (sign: number) => {
          memory.floats(cos, angles.length).set(angles.map(Math.cos));
          memory.floats(sin, angles.length).set(angles.map((angle) => sign * Math.sin(angle)));
          memory.run.rotate(keys, heads, rows, 2 * half, cos, sin);
        };
        turn(1);
        const [a, b] = [1, half + 1];
        // The second row's first pair is turned by its own angle.
        if (rows > 1) {
          const row = 2 * half;
          const angle = half * 0.7;
          const turned = memory.floats(keys, count)[row] as number;
          expect(turned).toBeCloseTo((row + a) * Math.cos(angle) - (row + b) * Math.sin(angle), 2);
        }
        turn(-1);
        for (const [i, value] of memory.floats(keys, count).entries()) expect(value).toBeCloseTo(i + 1, 2);
      },
    ),
  );
});
