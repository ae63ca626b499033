import { exampleId } from '@baton/protocol/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { answerText } from '../testing/scripts.ts';
import { TestBench } from '../testing/test-bench.ts';

const model = 'hymba-tiny-stories';

describe('item references', () => {
  let bench: TestBench;
  let url: string;
  beforeAll(async () => {
    bench = await TestBench.start();
    ({ url } = await bench.startGateway());
  });
  afterAll(() => bench?.stop());

  const read = () => vi.spyOn(bench.log, 'read');
  let reads: ReturnType<typeof read>;
  beforeEach(() => {
    reads = read();
    return () => reads.mockRestore();
  });

  const post = async (input: unknown, path = 'responses') => {
    const response = await fetch(`${url}/v1/${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(path === 'responses' ? { model, input } : { items: input }),
    });
    return [response.status, (await response.json()) as Record<string, unknown>] as const;
  };
  const item = (response: string, suffix = '') => ({
    type: 'item_reference',
    id: `${response.replace('resp', 'msg')}${suffix}`,
  });
  const missing = (name: string) => item(exampleId('default').slice(0, 13) + name.padStart(24, '0'));

  it('read each response that they name once, however often it is named', async () => {
    const [, first] = await post('one');
    const [, second] = await post('two');
    const [one, two] = [String(first['id']), String(second['id'])];
    reads.mockClear();
    const [status, third] = await post([
      item(one, '_in_0'),
      item(one),
      item(two),
      item(one, '_in_0'),
      item(two),
    ]);
    expect(status).toBe(200);
    expect(reads.mock.calls.map(([id]) => id)).toEqual([one, two]);
    const job = (await bench.log.read(String(third['id'])))?.job;
    const contents = ['one', answerText, answerText, 'one', answerText];
    expect(job?.echo).toMatchObject({ input: contents.map((content) => ({ content })) });
  });

  it.each(['responses', 'conversations'])(
    'read no further than to the first that is missing: %s',
    async (path) => {
      const [status, body] = await post([missing('1'), missing('2'), missing('3')], path);
      const param = `${path === 'responses' ? 'input' : 'items'}[0].id`;
      expect([status, body['error']]).toMatchObject([400, { code: 'invalid_value', param }]);
      expect(reads).toHaveBeenCalledTimes(1);
    },
  );

  it('may be so many in one request, of which none is read where there are more', async () => {
    const [status, body] = await post(Array.from({ length: 501 }, (_, i) => missing(i.toString(16))));
    expect([status, body['error']]).toMatchObject([
      400,
      { code: 'invalid_value', param: 'input', message: expect.stringContaining('501 item references') },
    ]);
    expect(reads).not.toHaveBeenCalled();
  });
});
