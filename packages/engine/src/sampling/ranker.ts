/** Ranks logits: highest first, the lowest id first among equals. Keeps its scratch memory from call to call. */
export class Ranker {
  readonly #size: number;
  #keys: Float64Array | undefined;
  #ids: Uint32Array | undefined;

  /** `size` is the vocabulary's, at most 2^21. */
  constructor(size: number) {
    this.#size = size;
  }

  /** Ids of the `count` highest values, in order; none may be NaN. The result is overwritten by the next call. */
  top(values: Float32Array, count: number): Uint32Array {
    this.#ids ??= new Uint32Array(this.#size);
    return count <= 256
      ? insertTop(values, count, this.#ids)
      : this.#sortAll(values, this.#ids).subarray(0, count);
  }

  /** One native sort of 53-bit keys: the float's bits, turned so that they sort downwards, above 21 bits of id. */
  #sortAll(values: Float32Array, ids: Uint32Array): Uint32Array {
    this.#keys ??= new Float64Array(this.#size);
    const keys = this.#keys;
    const bits = new Int32Array(values.buffer, values.byteOffset, values.length);
    for (let id = 0; id < bits.length; id++) {
      // -0 and 0 are equal as numbers, so they must have equal bits.
      const pattern = values[id] === 0 ? 0 : (bits[id] as number);
      const descending = pattern < 0 ? pattern >>> 0 : 0x7fffffff - pattern;
      keys[id] = descending * 2 ** 21 + id;
    }
    keys.sort();
    for (let rank = 0; rank < ids.length; rank++) ids[rank] = (keys[rank] as number) % 2 ** 21;
    return ids;
  }
}

/** Insertion into a short ranked list: nearly all values fail the first comparison. */
function insertTop(values: Float32Array, count: number, ids: Uint32Array): Uint32Array {
  let length = 0;
  let lowest = Number.NEGATIVE_INFINITY;
  for (let id = 0; id < values.length; id++) {
    const value = values[id] as number;
    if (length === count && value <= lowest) continue;
    if (length < count) length++;
    let rank = length - 1;
    while (rank > 0 && (values[ids[rank - 1] as number] as number) < value) {
      ids[rank] = ids[rank - 1] as number;
      rank--;
    }
    ids[rank] = id;
    lowest = values[ids[length - 1] as number] as number;
  }
  return ids.subarray(0, length);
}
