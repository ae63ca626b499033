/** Floats [slots, stride], of which the slots in use are the first ones. */
export class SlotArray {
  readonly slots: number;
  #stride: number;
  readonly #data: Float32Array<ArrayBuffer>;

  /** Reserves `most` floats for each slot; the system gives memory only to what has been written. */
  constructor(slots: number, stride: number, most = stride) {
    this.slots = slots;
    this.#stride = stride;
    this.#data = new Float32Array(slots * most);
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

  /**
   * Lays the first `used` slots, each `blocks` blocks that keep their beginnings, out with another stride, where they are:
   * streams wait meanwhile, and memory that is new to the process takes several times as long as moving what is there.
   */
  resize(stride: number, blocks: number, used: number): void {
    const [from, to] = [this.#stride / blocks, stride / blocks];
    const count = used * blocks;
    this.#stride = stride;
    if (to < from) {
      for (let block = 0; block < count; block++) this.#move(block * from, block * to, to);
    } else {
      // From the last one on, so that none is overwritten before it has moved.
      for (let block = count - 1; block >= 0; block--) {
        this.#move(block * from, block * to, from);
        this.#data.fill(0, block * to + from, (block + 1) * to);
      }
    }
  }

  #move(from: number, to: number, length: number): void {
    this.#data.copyWithin(to, from, from + length);
  }
}
