import { loadTokenizer } from '@baton/hymba/tokenizer';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { modelDir } from '../testing/log-script.ts';
import { TestBench } from '../testing/test-bench.ts';
import { Tokenisation } from './tokenisation.ts';

const plain = { addSpecialTokens: false };
const words = (count: number) => 'the boat was '.repeat(count);

describe('Tokenisation', async () => {
  const tokenizer = await loadTokenizer(modelDir);
  const tokenisation = new Tokenisation(tokenizer);
  afterAll(() => tokenisation.close());

  it('gives the same tokens on its thread, where the event loop turns meanwhile', async () => {
    const encode = vi.spyOn(tokenizer, 'encode');
    let turned = false;
    setImmediate(() => {
      turned = true;
    });
    const [tokens] = await tokenisation.encode('acme', [words(1000)], { addSpecialTokens: true });
    expect(turned).toBe(true);
    expect(encode).not.toHaveBeenCalled();
    encode.mockRestore();
    expect(tokens).toEqual(tokenizer.encode(words(1000)));
  });

  it('takes many short texts for a long one', async () => {
    const encode = vi.spyOn(tokenizer, 'encode');
    const short = words(10);
    expect(await tokenisation.encode('acme', [short], plain)).toHaveLength(1);
    expect(encode).toHaveBeenCalledTimes(1);
    expect(await tokenisation.encode('acme', Array(100).fill(short), plain)).toHaveLength(100);
    expect(encode).toHaveBeenCalledTimes(1);
    encode.mockRestore();
  });

  it("lets one tenant's text wait for no more than one of another's", async () => {
    const order: string[] = [];
    const encode = async (tenant: string) => {
      await tokenisation.encode(tenant, [words(400)], plain);
      order.push(tenant);
    };
    await Promise.all([...Array.from({ length: 4 }, () => encode('acme')), encode('lone')]);
    expect(order.indexOf('lone')).toBeLessThanOrEqual(1);
  });
});

describe('a prompt', () => {
  let bench: TestBench;
  let url: string;
  beforeAll(async () => {
    bench = await TestBench.start();
    ({ url } = await bench.startGateway());
  });
  afterAll(() => bench?.stop());

  const post = (path: string, body: object) =>
    fetch(`${url}/v1/${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: bench.model.name, ...body }),
    });
  const long = 'x '.repeat(500_000);

  it.each([
    ['completions', { prompt: long }, 'prompt'],
    ['completions', { prompt: ['hi', long] }, 'prompt[1]'],
    ['chat/completions', { messages: [{ role: 'user', content: long }] }, 'messages'],
    ['responses', { input: long }, 'input'],
    ['responses', { input: 'hi', instructions: long }, 'input'],
  ])('that is too long by its length alone is refused at once: %s', async (path, body, param) => {
    const encode = vi.spyOn(bench.model.tokenizer, 'encode');
    const refused = await post(path, body);
    expect(encode).not.toHaveBeenCalled();
    encode.mockRestore();
    expect([refused.status, await refused.json()]).toEqual([
      400,
      {
        error: {
          type: 'invalid_request_error',
          code: 'context_length_exceeded',
          param,
          message: expect.stringMatching(/holds \d+ tokens, but the request needs at least \d+/),
        },
      },
    ]);
  });

  it('that goes on from a response is refused likewise', async () => {
    const first = (await (await post('responses', { input: 'hi' })).json()) as { id: string };
    const encode = vi.spyOn(bench.model.tokenizer, 'encode');
    const refused = await post('responses', { input: long, previous_response_id: first.id });
    expect(encode).not.toHaveBeenCalled();
    encode.mockRestore();
    expect(await refused.json()).toMatchObject({
      error: { code: 'context_length_exceeded', param: 'input' },
    });
  });

  it('that is long and fits runs, and is tokenised elsewhere than where streams are served', async () => {
    const text = words(350);
    const encode = vi.spyOn(bench.model.tokenizer, 'encode');
    const answer = (await (await post('responses', { input: text, max_output_tokens: 2 })).json()) as {
      id: string;
    };
    expect(encode.mock.calls.filter(([given]) => given.length > 4096)).toEqual([]);
    encode.mockRestore();
    const { tokenizer } = bench.model;
    const rendered = tokenizer.renderChat([{ role: 'user', content: text }]);
    expect((await bench.log.read(answer.id))?.job?.prompt).toEqual(tokenizer.encode(rendered, plain));
  });
});
