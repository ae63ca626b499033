import { fileURLToPath } from 'node:url';

/** Small random checkpoints in the released layout, each with the `expected.safetensors` of the released code. */
export const goldenNames = ['no-sharing', 'shared-pairs', 'shared-triple'] as const;
export type GoldenName = (typeof goldenNames)[number];

/** Folder of a golden checkpoint. Tests must not write to it. */
export function goldenCheckpoint(name: GoldenName): string {
  return fileURLToPath(new URL(`../fixtures/golden/${name}`, import.meta.url));
}

/** Folder of a small trained checkpoint, with the `expected.safetensors` of the released code. Tests must not write to it. */
export function tinyStoriesCheckpoint(): string {
  return fileURLToPath(new URL('../fixtures/hymba-tiny-stories', import.meta.url));
}

/** A file of stories that no checkpoint here has seen, with a line `<|endoftext|>` between them. */
export function validationStories(): string {
  return fileURLToPath(new URL('../fixtures/text/stories-val.txt', import.meta.url));
}
