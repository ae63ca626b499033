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
      : this.sort(values, candidates(values, count, this.#ids)).subarray(0, count);
  }

  /**
   * Puts `ids` in the order of their values, none of which may be NaN. One native sort of 53-bit keys: the float's bits, turned so
   * that they sort downwards, above 21 bits of id.
   */
  sort(values: Float32Array, ids: Uint32Array): Uint32Array {
    this.#keys ??= new Float64Array(this.#size);
    const keys = this.#keys.subarray(0, ids.length);
    const bits = bitsOf(values);
    for (let at = 0; at < ids.length; at++) {
      const id = ids[at] as number;
      keys[at] = descending(bits[id] as number) * 2 ** 21 + id;
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

/** Ids among which the `count` highest values are, and few others: whole classes of values that agree in their first 14 bits. */
function candidates(values: Float32Array, count: number, ids: Uint32Array): Uint32Array {
  const bits = bitsOf(values);
  const classes = new Uint32Array(2 ** 14);
  for (let id = 0; id < bits.length; id++) (classes[descending(bits[id] as number) >>> 18] as number)++;
  let last = 0;
  for (let found = classes[0] as number; found < count && last < classes.length - 1; ) {
    found += classes[++last] as number;
  }
  let length = 0;
  for (let id = 0; id < bits.length; id++) {
    if (descending(bits[id] as number) >>> 18 <= last) ids[length++] = id;
  }
  return ids.subarray(0, length);
}

const bitsOf = (values: Float32Array) => new Int32Array(values.buffer, values.byteOffset, values.length);

/** The bits of a float32 as an unsigned number that is the lower the higher the float is. -0 and 0 are equal. */
function descending(bits: number): number {
  if (bits === negativeZero) return descending(0);
  return bits < 0 ? bits >>> 0 : 0x7fffffff - bits;
}

const negativeZero = -(2 ** 31);
