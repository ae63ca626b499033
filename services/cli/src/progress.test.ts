import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { showProgress } from './progress.ts';

function terminal(isTTY: boolean) {
  const written: string[] = [];
  const stream = Object.assign(new PassThrough(), {
    isTTY,
    columns: 80,
    cursorTo() {},
    clearLine() {},
    moveCursor() {},
  });
  stream.on('data', (chunk) => written.push(String(chunk)));
  return { stream: stream as unknown as NodeJS.WriteStream, text: () => written.join('') };
}

describe('showProgress', () => {
  it('draws a bar at a terminal', () => {
    const { stream, text } = terminal(true);
    const progress = showProgress(stream);
    progress.note('listed');
    progress.update(5, 10, 'half of it');
    progress.update(10, 10, 'all of it');
    progress.stop();
    expect(text()).toMatch(/^listed\n/);
    expect(text()).toContain(`${'█'.repeat(30)} 100 % | all of it`);
  });

  it('writes a line a tenth elsewhere, without control characters', () => {
    const { stream, text } = terminal(false);
    const progress = showProgress(stream);
    for (let done = 0; done <= 100; done++) progress.update(done, 100, `${done} bytes`);
    progress.stop();
    expect(text().split('\n').filter(Boolean)).toEqual(
      [10, 20, 30, 40, 50, 60, 70, 80, 90, 100].map((n) => `${n} % ${n} bytes`),
    );
  });
});
