import { OtlpReceiver } from '@baton/testing/otlp-receiver';
import { expect, it } from 'vitest';
import { inProcess } from './in-process.ts';

it('writes an event in one line, with the trace that it belongs to', async () => {
  const receiver = await OtlpReceiver.start();
  try {
    const printed = await inProcess(
      `const logger = createLogger('test', 'info');
       logger.debug('not this');
       logger.warn({ err: new Error('two\\nlines') }, 'outside');
       await withSpan('work', {}, () => logger.info({ generation: 'resp_1' }, 'inside'));`,
      receiver.env,
    );
    const { traceId, spanId } = await receiver.waitFor(({ name }) => name === 'work');
    const lines = printed.trimEnd().split('\n');
    const [outside, inside] = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines).toHaveLength(2);
    expect(outside).toMatchObject({ level: 40, name: 'test', msg: 'outside' });
    expect(outside).not.toHaveProperty('trace_id');
    expect(inside).toMatchObject({ generation: 'resp_1', trace_id: traceId, span_id: spanId });
  } finally {
    await receiver.stop();
  }
});

it('writes of an error what it is, where it came from and what caused it, and nothing that a library hung on it', async () => {
  const printed = await inProcess(
    `const logger = createLogger('test', 'info');
     const refused = Object.assign(new Error('OOM command not allowed'), { command: { args: ['a secret thing'] } });
     logger.error({ err: Object.assign(new Error('no room', { cause: refused }), { code: 'store_full' }) }, 'failed');`,
  );
  expect(printed).not.toContain('a secret thing');
  expect(JSON.parse(printed)).toMatchObject({
    err: {
      type: 'Error',
      message: 'no room',
      code: 'store_full',
      cause: { message: 'OOM command not allowed' },
    },
  });
});
