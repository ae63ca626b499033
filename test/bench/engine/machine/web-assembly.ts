/** The parts of WebAssembly's interface that are used here: Node's types leave them out. */
interface WebAssemblyApi {
  readonly Memory: new (size: { readonly initial: number }) => WasmMemory;
  instantiate(
    module: Uint8Array<ArrayBuffer>,
    imports: Readonly<Record<string, Readonly<Record<string, WasmMemory>>>>,
  ): Promise<{ readonly instance: { readonly exports: Readonly<Record<string, unknown>> } }>;
}

export interface WasmMemory {
  readonly buffer: ArrayBuffer;
}

export const webAssembly: WebAssemblyApi = Reflect.get(globalThis, 'WebAssembly');
