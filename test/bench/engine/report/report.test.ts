import { expect, it } from 'vitest';
import { formatReport } from './report.ts';

it('a report names command and machine, joins the columns of all rows, and says what is missing', () => {
  const text = formatReport({
    command: 'npm run bench:engine -- --quick',
    date: '2026-01-02T03:04:05.000Z',
    machine: {
      cpu: 'Some CPU',
      cores: 4,
      instructions: ['avx2'],
      memoryGB: 16.4,
      system: 'linux 6',
      node: 'v24',
      onnxruntime: '1.30.0',
      loadBefore: 0.05,
    },
    threads: 4,
    bandwidth: {
      summary: { median: 20e9, low: 19e9, high: 21e9, count: 15 },
      best: 22e9,
      method: 'as it is done',
    },
    sections: [
      {
        part: 'peers',
        rows: [
          { what: 'ours', batch: 1 },
          { what: 'theirs', 'Baton ÷ this': 1.25 },
        ],
        notes: ['third: stopped after 3 s\nwith a long explanation'],
      },
      { part: 'decode', rows: [], notes: ['tiny fp32: interrupted'] },
    ],
  });
  expect(text.split('\n')).toEqual([
    '    npm run bench:engine -- --quick',
    '',
    '- 2026-01-02T03:04:05.000Z, Some CPU, 4 cores (avx2), 16.4 GB, linux 6',
    '- Node v24, onnxruntime-node 1.30.0, 4 threads; load of the machine before: 0.05 per core',
    '- memory reads: 22 GB/s at best, median 20 (19–21); as it is done',
    '- figures: median (lower–upper quartile)',
    '',
    '## What else runs models from TypeScript',
    '',
    '| what   | batch | Baton ÷ this |',
    '| ------ | ----: | -----------: |',
    '| ours   |     1 |            – |',
    '| theirs |     – |         1.25 |',
    '',
    'Not measured: third: stopped after 3 s',
    '',
    '## Decode: one token for each sequence of a batch',
    '',
    '',
    'Not measured: tiny fp32: interrupted',
  ]);
});
