/**
 * Zeros in memory that every thread sees where it lies. What leaves a model's thread is written once and read from then
 * on, so sharing it costs nothing, where sending it would stop the receiving thread for as long as a copy takes.
 */
export function sharedFloats(length: number): Float32Array<SharedArrayBuffer> {
  return new Float32Array(new SharedArrayBuffer(length * Float32Array.BYTES_PER_ELEMENT));
}

export function sharedCopy(values: Float32Array): Float32Array<SharedArrayBuffer> {
  const copy = sharedFloats(values.length);
  copy.set(values);
  return copy;
}
