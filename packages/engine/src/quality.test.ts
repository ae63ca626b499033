import { describe, expect, it } from 'vitest';
import { scoreDocument, summarise } from './quality.ts';

const logitsOf = (...probabilities: number[]) => Float32Array.from(probabilities, Math.log);

describe('a score', () => {
  it('is the surprise at each target, however large the logits', () => {
    const logits = Float32Array.from([...logitsOf(0.5, 0.25, 0.25), ...logitsOf(0.1, 0.1, 0.8)]);
    const expected = Math.LN2 * 2 - Math.log(0.8);
    expect(scoreDocument(logits, { targets: [1, 2], bytes: 7 })).toEqual({
      tokens: 2,
      bytes: 7,
      nats: expect.closeTo(expected, 6),
      divergences: [],
    });
    const shifted = scoreDocument(
      logits.map((logit) => logit + 1000),
      { targets: [1, 2], bytes: 7 },
    );
    expect(shifted.nats).toBeCloseTo(expected, 3);
  });

  it('has the divergence from the reference at each token', () => {
    const p = Float32Array.from([...logitsOf(0.5, 0.5), ...logitsOf(0.9, 0.1)]);
    const q = Float32Array.from([...logitsOf(0.25, 0.75), ...logitsOf(0.9, 0.1)]);
    const { divergences } = scoreDocument(q, { targets: [0, 0], bytes: 1 }, p);
    expect(divergences).toEqual([
      expect.closeTo(0.5 * Math.log(2) + 0.5 * Math.log(2 / 3), 6),
      expect.closeTo(0, 6),
    ]);
  });
});

describe('a summary', () => {
  it('counts every token the same, in whatever document', () => {
    const quality = summarise([
      { tokens: 3, bytes: 10, nats: 3, divergences: [] },
      { tokens: 1, bytes: 6, nats: 5, divergences: [] },
    ]);
    expect(quality).toEqual({
      natsPerToken: 2,
      perplexity: expect.closeTo(Math.E ** 2, 9),
      bitsPerByte: expect.closeTo(8 / Math.LN2 / 16, 9),
      divergence: null,
    });
  });

  it('names the divergence that one token in a hundred exceeds', () => {
    const divergences = Array.from({ length: 200 }, (_, i) => (i * 7) % 200);
    const { divergence } = summarise([{ tokens: 200, bytes: 1, nats: 1, divergences }]);
    expect(divergence).toEqual({ mean: 99.5, p99: 197 });
  });
});
