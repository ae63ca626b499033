/** Floats [slots, stride], of which the slots in use are the first ones. */
export class SlotArray {
  readonly slots: number;
  #stride: number;
  #data: Float32Array<ArrayBuffer>;

  constructor(slots: number, stride: number) {
    this.slots = slots;
    this.#stride = stride;
    this.#data = new Float32Array(slots * stride);
  }

  get stride(): number {
    return this.#stride;
  }

  get data(): Float32Array<ArrayBuffer> {
    return this.#data;
  }

  /** A view of `count` slots from `first` on. */
  view(first: number, count = 1): Float32Array<ArrayBuffer> {
    return this.#data.subarray(first * this.#stride, (first + count) * this.#stride);
  }

  copy(from: number, to: number): void {
    this.#data.copyWithin(to * this.#stride, from * this.#stride, (from + 1) * this.#stride);
  }

  swap(a: number, b: number): void {
    const kept = this.view(a).slice();
    this.copy(b, a);
    this.view(b).set(kept);
  }

  /** Lays the first `used` slots, each `blocks` blocks that keep their beginnings, out with another stride. */
  resize(stride: number, blocks: number, used: number): void {
    const [old, oldStride] = [this.#data, this.#stride];
    this.#data = new Float32Array(this.slots * stride);
    this.#stride = stride;
    const [from, to] = [oldStride / blocks, stride / blocks];
    const kept = Math.min(from, to);
    for (let block = 0; block < used * blocks; block++) {
      this.#data.set(old.subarray(block * from, block * from + kept), block * to);
    }
    // Frees the memory now: the collector may come when the next array is there already.
    old.buffer.transfer(0);
  }
}
