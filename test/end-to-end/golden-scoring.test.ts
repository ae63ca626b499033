import { readFile } from 'node:fs/promises';
import { goldenCheckpoint, goldenNames } from '@baton/testing';
import OpenAI from 'openai';
import { describe, expect, it } from 'vitest';
import { startSystem } from '../support/system.ts';

/** Tensors of a small float32 / int64 safetensors file (https://huggingface.co/docs/safetensors). */
async function readExpected(folder: string) {
  const file = await readFile(`${folder}/expected.safetensors`);
  const headerLength = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString('utf8', 8, 8 + headerLength));
  const bytes = (name: string): ArrayBuffer => {
    const [start, end] = header[name].data_offsets;
    return Uint8Array.prototype.slice.call(file, 8 + headerLength + start, 8 + headerLength + end).buffer;
  };
  const [rows, length, vocabulary] = header.logits.shape as [number, number, number];
  const isInt64 = header.input_ids.dtype === 'I64';
  const ids = isInt64
    ? Array.from(new BigInt64Array(bytes('input_ids')), Number)
    : Array.from(new Int32Array(bytes('input_ids')));
  return { rows, length, vocabulary, ids, logits: new Float32Array(bytes('logits')) };
}

/** log softmax(logits)[id] in double precision. */
function logProbability(logits: Float32Array, id: number): number {
  const max = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const sum = logits.reduce((total, logit) => total + Math.exp(logit - max), 0);
  return (logits[id] ?? Number.NaN) - max - Math.log(sum);
}

describe('scoring a prompt of token ids over the API', () => {
  it.each(goldenNames)('gives the log-probabilities of %s as released', async (name) => {
    const folder = goldenCheckpoint(name);
    const { rows, length, vocabulary, ids, logits } = await readExpected(folder);
    const system = await startSystem({ model: folder });
    try {
      const openai = new OpenAI({ baseURL: `${system.url}/v1`, apiKey: 'none-needed' });
      const prompts = Array.from({ length: rows }, (_, row) => ids.slice(row * length, (row + 1) * length));
      const { choices } = await openai.completions.create({
        model: name,
        prompt: prompts,
        echo: true,
        logprobs: 1,
        max_tokens: 1,
      });
      expect(choices.map((choice) => choice.index)).toEqual(prompts.map((_, row) => row));
      for (const [row, prompt] of prompts.entries()) {
        const scores = choices[row]?.logprobs?.token_logprobs ?? [];
        expect(scores).toHaveLength(length + 1);
        expect(scores[0]).toBeNull();
        for (let i = 1; i < length; i++) {
          const start = (row * length + i - 1) * vocabulary;
          const expected = logProbability(logits.subarray(start, start + vocabulary), prompt[i] ?? -1);
          expect(Math.abs((scores[i] ?? Number.NaN) - expected), `row ${row}, position ${i}`).toBeLessThan(
            1e-3,
          );
        }
      }
    } finally {
      await system.stop();
    }
  });
});
