import { OtlpReceiver } from '@baton/testing/otlp-receiver';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { inProcess } from './in-process.ts';

let receiver: OtlpReceiver;
beforeEach(async () => {
  receiver = await OtlpReceiver.start();
});
afterEach(() => receiver.stop());
const otlp = (extra: Record<string, string> = {}) => ({
  ...receiver.env,
  ...extra,
});

const messages = (printed: string) =>
  printed
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line).msg);

describe('over OTLP', () => {
  it('sends spans with their parents, links, attributes and resource, and prints nothing', async () => {
    const printed = await inProcess(
      `const first = await withSpan('first', { kind: SpanKind.SERVER, attributes: { [attributes.responseId]: 'resp_1' } },
         (span) => withSpan('inner', {}, () => span.spanContext()));
       await withSpan('second', { links: [{ context: first }] }, () => {});`,
      otlp(),
    );
    expect(printed).toBe('');
    const first = await receiver.waitFor((span) => span.name === 'first');
    expect(first).toMatchObject({
      kind: 'server',
      parentSpanId: null,
      status: 'unset',
      attributes: { 'gen_ai.response.id': 'resp_1' },
      resource: {
        'service.name': 'baton-test',
        'service.version': '1.2.3',
        'service.instance.id': 'a',
      },
    });
    const inner = await receiver.waitFor((span) => span.name === 'inner');
    expect(inner).toMatchObject({ traceId: first.traceId, parentSpanId: first.spanId });
    const second = await receiver.waitFor((span) => span.name === 'second');
    expect(second.links).toEqual([{ traceId: first.traceId, spanId: first.spanId, attributes: {} }]);
    expect(second.traceId).not.toBe(first.traceId);
  });
});

describe('startTelemetry', () => {
  it('stays off, and loads no SDK, unless a variable asks for it', async () => {
    // The CommonJS packages below the SDK show up in require's cache once anything loads it.
    const report = `
      const { createRequire } = await import('node:module');
      const loaded = Object.keys(createRequire(import.meta.url).cache).some((file) => file.includes('@grpc'));
      const recording = await withSpan('x', {}, (span) => span.isRecording());
      console.log(telemetry.traces, recording, loaded);`;
    expect(await inProcess(report)).toBe('false false false\n');
    expect(await inProcess(report, otlp({ OTEL_SDK_DISABLED: 'true' }))).toBe('false false false\n');
    const none = { OTEL_TRACES_EXPORTER: 'none', OTEL_METRICS_EXPORTER: 'none' };
    expect(await inProcess(report, otlp(none))).toBe('false false false\n');
    expect(await inProcess(report, otlp())).toBe('true true true\n');
  });

  it('lets OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES override', async () => {
    await inProcess(
      `await withSpan('x', {}, () => {});`,
      otlp({ OTEL_SERVICE_NAME: 'mine', OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=test' }),
    );
    const { resource } = await receiver.waitFor((span) => span.name === 'x');
    expect(resource).toMatchObject({ 'service.name': 'mine', 'deployment.environment.name': 'test' });
  });

  it('ends in bounded time where the collector is dead', async () => {
    const dead = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9' };
    const printed = await inProcess(
      `await withSpan('x', {}, () => {}); await telemetry.shutdown(100); process.exit(0);`,
      dead,
    );
    expect(messages(printed)).toEqual(['the last telemetry could not be sent within 100 ms, and is lost']);
  });
});

describe('what cannot be sent', () => {
  const port = '29467';
  const script = `
    const { createServer } = await import('node:http');
    let status = 401;
    const server = createServer((request, response) => {
      const answer = () => response.writeHead(status, { 'content-type': 'application/json' }).end('{}');
      request.resume().once('end', answer);
    });
    await new Promise((resolve) => server.listen(${port}, '127.0.0.1', resolve));
    const send = async (answered) => {
      status = answered;
      for (let i = 0; i < 3; i++) {
        await withSpan('x', {}, () => count('rejections'));
        await trace.getTracerProvider().getDelegate().forceFlush();
        await metrics.getMeterProvider().forceFlush();
      }
    };
    for (const answered of [401, 200, 500, 200]) await send(answered);
    await telemetry.shutdown();
    process.exit();`;

  it('is told once for each time, and so is that it can be again', async () => {
    const endpoint = { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}` };
    const printed = await inProcess(script, { ...endpoint, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json' });
    const outage = ['traces', 'metrics'].map(
      (signal) => `${signal} cannot be sent; they are lost until they can`,
    );
    const end = ['traces', 'metrics'].map((signal) => `${signal} are sent again`);
    expect(messages(printed)).toEqual([...outage, ...end, ...outage, ...end]);
    expect(JSON.parse(printed.split('\n')[0] ?? '')).toMatchObject({
      level: 40,
      err: { message: 'Unauthorized' },
    });
  });

  it('is not all that is told: the SDK warns of other things, each once', async () => {
    const printed = await inProcess(
      `for (const value of [-1, -20]) count('rejections', value);
       const ended = trace.getTracer('t').startSpan('x');
       for (let i = 0; i < 3; i++) ended.end();`,
      otlp(),
    );
    expect(messages(printed)).toEqual([
      'OpenTelemetry: negative value provided to counter baton.rejections: -1',
      expect.stringMatching(/^OpenTelemetry: Cannot execute the operation on ended Span .*\}$/),
      expect.stringContaining('You can only call end() on a span once'),
    ]);
  });
});

describe('withSpan', () => {
  it('records what is thrown and rethrows it', async () => {
    const printed = await inProcess(
      `await withSpan('failing', {}, () => { throw new Error('no'); }).catch((error) => console.log(error.message));`,
      otlp(),
    );
    expect(printed).toBe('no\n');
    const span = await receiver.waitFor(({ name }) => name === 'failing');
    expect(span.status).toBe('error');
    expect(span.events).toMatchObject([
      { name: 'exception', attributes: { 'exception.message': 'no', 'exception.type': 'Error' } },
    ]);
  });
});

describe('the status of a span', () => {
  it('is an error where something broke, not where a client is refused or work was told to stop', async () => {
    const thrown = {
      refused: `new RequestError('invalid_value', 'no')`,
      broken: `new ServerError('no')`,
      stopped: `AbortSignal.abort().reason`,
    };
    const spans = Object.entries(thrown).map(
      ([name, error]) => `await withSpan('${name}', {}, () => { throw ${error}; }).catch(() => {});`,
    );
    await inProcess(
      `const { RequestError, ServerError } = await import('@baton/errors'); ${spans.join('')}`,
      otlp(),
    );
    const seen = async (wanted: string) => {
      const { status, events } = await receiver.waitFor(({ name }) => name === wanted);
      return [status, events.length];
    };
    expect(await seen('refused')).toEqual(['unset', 1]);
    expect(await seen('broken')).toEqual(['error', 1]);
    expect(await seen('stopped')).toEqual(['unset', 0]);
  });
});

describe('requestSpan', () => {
  it('is the server span, also inside others, and none outside of it', async () => {
    const printed = await inProcess(
      `console.log(requestSpan());
       await withSpan('request', { kind: SpanKind.SERVER }, (span) =>
         withSpan('inner', {}, () => console.log(requestSpan() === span)));`,
      otlp(),
    );
    expect(printed).toBe('undefined\ntrue\n');
  });
});

describe('linksTo', () => {
  it('gives a link to the span that was active, and none where nobody recorded it', async () => {
    await inProcess(
      `const first = await withSpan('first', {}, () => activeTraceparent());
       await withSpan('second', { links: [...linksTo(first, { [attributes.link]: 'x' }), ...linksTo(null)] }, () => {});`,
      otlp(),
    );
    const { traceId, spanId } = await receiver.waitFor(({ name }) => name === 'first');
    const { links } = await receiver.waitFor(({ name }) => name === 'second');
    expect(links).toEqual([{ traceId, spanId, attributes: { 'baton.link': 'x' } }]);
    const off = `console.log(await withSpan('first', {}, () => activeTraceparent()))`;
    expect(await inProcess(off)).toBe('null\n');
  });
});

describe('context over NATS headers', () => {
  it('joins the trace of the sender', async () => {
    await inProcess(
      `const headers = natsHeaders();
       await withSpan('send', {}, () => injectContext(headers));
       await withSpan('receive', { parent: extractContext(headers) }, () => {});`,
      otlp(),
    );
    const send = await receiver.waitFor((span) => span.name === 'send');
    const receive = await receiver.waitFor((span) => span.name === 'receive');
    expect(receive).toMatchObject({ traceId: send.traceId, parentSpanId: send.spanId });
  });

  it('starts a new trace where the message carries none', async () => {
    await inProcess(
      `await withSpan('receive', { parent: extractContext(undefined) }, () => {});
       await withSpan('again', { parent: extractContext(natsHeaders()) }, () => {});`,
      otlp(),
    );
    expect((await receiver.waitFor((span) => span.name === 'receive')).parentSpanId).toBeNull();
    expect((await receiver.waitFor((span) => span.name === 'again')).parentSpanId).toBeNull();
  });
});
