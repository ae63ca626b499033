import { readFileSync } from 'node:fs';

/** What `kernels/kernels.ts` exports: see there. Pointers are byte offsets into `memory`. */
export interface Kernels {
  readonly memory: { readonly buffer: ArrayBuffer; grow(pages: number): number };
  readonly quantiseColumns: Quantise;
  readonly quantiseRows: Quantise;
  readonly quantiseWide: Quantise;
  readonly dequantiseColumns: Dequantise;
  readonly dequantiseRows: Dequantise;
  readonly dequantiseWide: Dequantise;
  rotate(keys: number, heads: number, rows: number, size: number, cos: number, sin: number): void;
  toPlanes(values: number, count: number, planes: number, first: number, total: number): void;
  fromPlanes(planes: number, first: number, total: number, values: number, count: number): void;
  /** Gives 0 where a value is no finite float16 number. */
  toHalves(values: number, rows: number, columns: number, offsets: number, high: number, low: number): number;
  fromHalves(high: number, low: number, rows: number, columns: number, offsets: number, values: number): void;
}

/** Of columns: rows and columns; else: all values and those that share a scale. Only wide codes have a `high` byte. Gives 0 where a value is none. */
type Quantise = (
  values: number,
  rows: number,
  columns: number,
  limit: number,
  step: number,
  coarse: number,
  scales: number,
  codes: number,
  high: number,
) => number;
type Dequantise = (
  codes: number,
  rows: number,
  columns: number,
  limit: number,
  scales: number,
  values: number,
  high: number,
) => void;

/** The parts of WebAssembly's interface that are used here: Node's types leave them out. */
interface WebAssemblyApi {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: Kernels };
}
const api: WebAssemblyApi = Reflect.get(globalThis, 'WebAssembly');

const compiled = new api.Module(readFileSync(new URL('../../kernels/kernels.wasm', import.meta.url)));
const wasmPage = 65_536;

/** The codec's loops and the memory they work in, which is laid out anew for each page: nothing in it outlives the next `clear`. */
export class KernelMemory {
  readonly run: Kernels;
  #end = 0;

  constructor() {
    this.run = new api.Instance(compiled).exports;
    this.clear();
  }

  clear(): void {
    // What AssemblyScript has put in front stays.
    this.#end = 1024;
  }

  /** Room for `bytes`, at a multiple of 16. */
  take(bytes: number): number {
    const at = this.#end;
    this.#end = (at + bytes + 15) & ~15;
    const { memory } = this.run;
    const short = this.#end - memory.buffer.byteLength;
    if (short > 0) memory.grow(Math.max(Math.ceil(short / wasmPage), memory.buffer.byteLength / wasmPage));
    return at;
  }

  bytes(at: number, length: number): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.run.memory.buffer, at, length);
  }

  floats(at: number, length: number): Float32Array<ArrayBuffer> {
    return new Float32Array(this.run.memory.buffer, at, length);
  }
}
