const floatBytes = Float32Array.BYTES_PER_ELEMENT;

/**
 * Floats [slots, stride], of which the slots in use are the first ones. It takes memory as slots come into use and get
 * longer, and keeps it until `trim`: memory that is new to the process takes several times as long as moving what is there.
 */
export class SlotArray {
  readonly slots: number;
  #stride: number;
  /** Can be cut off again, unlike one of a fixed length. */
  readonly #buffer: ArrayBuffer;
  /** All of the buffer, whatever its length. */
  readonly #data: Float32Array<ArrayBuffer>;

  /** Reserves addresses for `most` floats for each slot. */
  constructor(slots: number, stride: number, most = stride) {
    this.slots = slots;
    this.#stride = stride;
    this.#buffer = new ArrayBuffer(0, { maxByteLength: slots * most * floatBytes });
    this.#data = new Float32Array(this.#buffer);
  }

  get stride(): number {
    return this.#stride;
  }

  /** What memory was taken for; reaches over all slots in use. */
  get data(): Float32Array<ArrayBuffer> {
    return this.#data;
  }

  get bytes(): number {
    return this.#buffer.byteLength;
  }

  /** Bytes that it takes once `used` slots of another stride have been in use. */
  bytesWith(stride: number, used: number): number {
    return Math.max(this.bytes, used * stride * floatBytes);
  }

  /** A view of `count` slots from `first` on. */
  view(first: number, count = 1): Float32Array<ArrayBuffer> {
    return this.#data.subarray(first * this.#stride, (first + count) * this.#stride);
  }

  /** Takes a slot into use, all zero. */
  clear(slot: number): void {
    this.#reach(slot + 1);
    this.view(slot).fill(0);
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
   * Lays the first `used` slots, each `blocks` blocks that keep their beginnings, out with another stride, where they are,
   * since streams wait meanwhile.
   */
  resize(stride: number, blocks: number, used: number): void {
    const [from, to] = [this.#stride / blocks, stride / blocks];
    const count = used * blocks;
    this.#stride = stride;
    if (to < from) {
      for (let block = 0; block < count; block++) this.#move(block * from, block * to, to);
    } else {
      this.#reach(used);
      // From the last one on, so that none is overwritten before it has moved.
      for (let block = count - 1; block >= 0; block--) {
        this.#move(block * from, block * to, from);
        this.#data.fill(0, block * to + from, (block + 1) * to);
      }
    }
  }

  /** Gives back what lies behind the first `used` slots. */
  trim(used: number): void {
    const bytes = used * this.#stride * floatBytes;
    if (bytes < this.bytes) this.#buffer.resize(bytes);
  }

  #reach(used: number): void {
    const bytes = this.bytesWith(this.#stride, used);
    if (bytes > this.bytes) this.#buffer.resize(bytes);
  }

  #move(from: number, to: number, length: number): void {
    this.#data.copyWithin(to, from, from + length);
  }
}
