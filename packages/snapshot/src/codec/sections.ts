import { SnapshotRefusal } from '../refusal.ts';

/** Bytes of a page's payload that are alike, and whether entropy coding makes them fewer. Valid until the codec's next call. */
export interface Section {
  readonly bytes: Uint8Array;
  readonly compress: boolean;
}

/** Copies what was stored to where it belongs. Throws `SnapshotRefusal` where the sizes differ. */
export function fill(right: readonly Section[], found: readonly Uint8Array[]): void {
  const sizes = (sections: readonly { readonly length: number }[]) =>
    sections.map(({ length }) => length).join(' + ');
  const expected = sizes(right.map(({ bytes }) => bytes));
  if (sizes(found) !== expected) {
    throw new SnapshotRefusal('corrupted', `a page has ${sizes(found)} bytes; it must have ${expected}`);
  }
  for (const [at, { bytes }] of right.entries()) bytes.set(found[at] as Uint8Array);
}
