import { SnapshotRefusal } from '../refusal.ts';

/** Writes little-endian numbers and bytes one after another. */
export class ByteWriter {
  readonly #parts: Uint8Array[] = [];

  u8(...values: number[]): this {
    return this.bytes(Uint8Array.from(values));
  }

  u16(value: number): this {
    return this.u8(value & 0xff, value >>> 8);
  }

  u32(value: number): this {
    return this.u16(value & 0xffff).u16(value >>> 16);
  }

  bytes(bytes: Uint8Array): this {
    this.#parts.push(bytes);
    return this;
  }

  finish(): Uint8Array<ArrayBuffer> {
    // All of it is written below, so it need not be zeroed before.
    const all = Buffer.allocUnsafeSlow(this.#parts.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const part of this.#parts) {
      all.set(part, at);
      at += part.length;
    }
    return new Uint8Array(all.buffer);
  }
}

/** Reads what `ByteWriter` wrote. Throws `SnapshotRefusal` (`truncated`) at the end of the bytes. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  u8(): number {
    return this.bytes(1)[0] as number;
  }

  u16(): number {
    return this.u8() | (this.u8() << 8);
  }

  u32(): number {
    return (this.u16() | (this.u16() << 16)) >>> 0;
  }

  bytes(length: number): Uint8Array {
    const { length: total } = this.#bytes;
    if (this.#at + length > total) {
      throw new SnapshotRefusal(
        'truncated',
        `it ends at byte ${total}, in a field that goes on to ${this.#at + length}`,
      );
    }
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }
}
