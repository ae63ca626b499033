import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

/** Opens a log for a child process to append to; `start` is where its lines will begin, in bytes. */
export function openLog(path: string): { readonly fd: number; readonly start: number } {
  const fd = openSync(path, 'a');
  return { fd, start: fstatSync(fd).size };
}

const tailBytes = 16_384;

/** The last `count` lines, empty ones left out, of what a log got from byte `start` on. */
export function logTail(path: string, start: number, count: number): string {
  const fd = openSync(path, 'r');
  try {
    const { size } = fstatSync(fd);
    const from = Math.max(start, size - tailBytes);
    const bytes = Buffer.alloc(Math.max(0, size - from));
    return lastLines(bytes.toString('utf8', 0, readSync(fd, bytes, 0, bytes.length, from)), count);
  } finally {
    closeSync(fd);
  }
}

/** The last `count` lines of `text`, empty ones left out. */
export function lastLines(text: string, count: number): string {
  return text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .slice(-count)
    .join('\n');
}
