import { serveCommands } from '@baton/fleet';
import { heartbeatSubject, type WorkerStatus } from '@baton/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { answers } from './api/answers.ts';
import { streamEvents } from './api/stream-events.ts';
import { operations } from './openapi.ts';
import { answer, failAfterOneWord, sayText } from './testing/scripts.ts';
import { type RunningGateway, TestBench } from './testing/test-bench.ts';
import { toolTemplate } from './testing/tool-template.ts';

let bench: TestBench;
let gateway: RunningGateway;
interface Described {
  paths: Record<
    string,
    Record<string, Record<string, unknown> & { parameters: { name: string; in: string }[] }>
  >;
}
let document: Described;
beforeAll(async () => {
  bench = await TestBench.start();
  gateway = await bench.startGateway();
  document = (await (await fetch(`${gateway.url}/openapi.json`)).json()) as Described;
});
afterAll(() => bench?.stop());

/** Every route of the server as `METHOD /path/{parameter}`. */
function served(): string[] {
  const text = gateway.server.app.printRoutes({ commonPrefix: false });
  const routes: string[] = [];
  const path: string[] = [];
  for (const line of text.split('\n')) {
    const [, indent = '', rest = ''] = /^([│ ]*[├└]── )(.*)$/.exec(line) ?? [];
    if (rest === '') continue;
    const [, part = '', methods] = /^(\S*)(?: \((.*)\))?$/.exec(rest) ?? [];
    const depth = indent.length / 4 - 1;
    path.splice(depth, path.length, part);
    const whole = path.join('').replace(/:(\w+)/g, '{$1}');
    for (const method of methods?.split(', ') ?? []) routes.push(`${method} ${whole}`);
  }
  return [...new Set(routes)];
}

describe('the OpenAPI document', () => {
  it('has every route that is served, and no other', () => {
    // CORS answers OPTIONS everywhere.
    const routes = served().filter((route) => !route.startsWith('OPTIONS '));
    expect(routes.toSorted()).toEqual(Object.keys(operations).toSorted());
    const described = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    expect(described.toSorted()).toEqual(routes.toSorted());
  });

  it('names the parameters that requests are checked against', () => {
    const chat = document.paths['/v1/chat/completions']?.['post'] as unknown as {
      requestBody: {
        content: {
          'application/json': {
            schema: {
              required: string[];
              properties: Record<string, unknown>;
              additionalProperties: boolean;
            };
          };
        };
      };
    };
    const { schema } = chat.requestBody.content['application/json'];
    expect(schema.required.toSorted()).toEqual(['messages', 'model']);
    expect(schema.additionalProperties).toBe(false);
    expect(Object.keys(schema.properties)).toEqual(expect.arrayContaining(['ignore_eos', 'logit_bias', 'n']));
    const shown = (name: string) => JSON.stringify(schema.properties[name]);
    expect(shown('messages')).toContain('tool_call_id');
    const input = document.paths['/v1/responses']?.['post'];
    expect(JSON.stringify(input)).toContain('"required":["role","content"]');
    for (const required of ['["model","input"]', '["type","call_id","output"]']) {
      expect(JSON.stringify(input)).toContain(`"required":${required}`);
    }
    expect(JSON.stringify(document.paths['/v1/chat/completions'])).toContain(
      '"required":["model","messages"]',
    );
    expect(shown('tools')).toContain('parameters');
    expect(shown('response_format')).toContain('json_schema');
    const retrieve = document.paths['/v1/responses/{id}']?.['get']?.parameters;
    expect(retrieve?.map((parameter) => `${parameter.in} ${parameter.name}`)).toEqual(
      expect.arrayContaining(['path id', 'query stream', 'query starting_after']),
    );
  });
});

const asked = new Set<string>();
/** Asks for `operation` and gives the answer, which must be what the document says. */
async function ask(
  operation: string,
  ids: { readonly id?: string; readonly item?: string } = {},
  body?: unknown,
) {
  const described = operations[operation];
  if (!described?.answer || described.answer === 'text') throw new Error(`${operation} is not described`);
  const [method = '', path = ''] = operation.split(' ');
  const response = await fetch(
    gateway.url + path.replace(/\{(\w+)\}/g, (_, name: 'id' | 'item') => ids[name] ?? ''),
    {
      method,
      ...(body !== undefined && {
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      }),
    },
  );
  const { status = 200 } = described;
  const text = await response.text();
  expect([operation, response.status, text]).toEqual([operation, status, expect.any(String)]);
  asked.add(operation);
  const { id = '', data = [] } = z
    .looseObject({ id: z.string().optional(), data: z.array(z.looseObject({ id: z.string() })).optional() })
    .parse(answers[described.answer].parse(JSON.parse(text)));
  return { id, data };
}
/** Asks for a stream, whose events must be what the document says, and gives their types. */
async function askForStream(operation: string, body: object, url = gateway.url): Promise<string[]> {
  const streams = operations[operation]?.streams;
  if (!streams) throw new Error(`${operation} does not stream`);
  const response = await fetch(url + operation.split(' ')[1], {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  const events = (await response.text()).split('\n\n').filter((event) => event !== '');
  return events.flatMap((event) => {
    const data = /^(?:event: .*\n)?data: (.*)$/.exec(event)?.[1] ?? '';
    if (data === '[DONE]') return [];
    const value: unknown = JSON.parse(data);
    const isError =
      typeof value === 'object' && value !== null && 'error' in value && streams !== 'ResponseEvent';
    const parsed = isError ? {} : streamEvents[streams].parse(value);
    return 'type' in parsed ? [String(parsed.type)] : [];
  });
}

describe('answers are what the document says', () => {
  const model = 'hymba-tiny-stories';

  it('to models and completions', async () => {
    await ask('GET /v1/models');
    await ask('GET /v1/models/{id}', { id: model });
    const messages = [{ role: 'user', content: 'hi' }];
    await ask('POST /v1/chat/completions', {}, { model, messages, logprobs: true, top_logprobs: 2 });
    const format = { name: 'word', schema: { type: 'string' } };
    bench.script = sayText('"hi"');
    await ask(
      'POST /v1/chat/completions',
      {},
      { model, messages, response_format: { type: 'json_schema', json_schema: format } },
    );
    bench.script = answer;
    await ask('POST /v1/completions', {}, { model, prompt: 'hi', echo: true, logprobs: 1, max_tokens: 2 });
  });

  it('to responses and conversations', async () => {
    const message = { role: 'user', content: 'hi' };
    const conversation = await ask('POST /v1/conversations', {}, { items: [message], metadata: { a: 'b' } });
    const created = await ask(
      'POST /v1/responses',
      {},
      {
        model,
        input: 'hi',
        conversation: conversation.id,
        include: ['message.output_text.logprobs'],
        text: { format: { type: 'json_object' } },
      },
    );
    const result = { type: 'function_call_output', call_id: 'call_1', output: 'sunny' };
    const call = { type: 'function_call', call_id: 'call_1', name: 'weather', arguments: '{}' };
    await ask('POST /v1/conversations/{id}/items', conversation, { items: [call, result] });
    const items = await ask('GET /v1/conversations/{id}/items', conversation);
    expect(items.data).toHaveLength(5);
    const ids = { id: conversation.id, item: items.data[0]?.id ?? '' };
    await ask('GET /v1/conversations/{id}/items/{item}', ids);
    await ask('DELETE /v1/conversations/{id}/items/{item}', ids);
    await ask('GET /v1/conversations/{id}', conversation);
    await ask('POST /v1/conversations/{id}', conversation, { metadata: {} });
    await ask('DELETE /v1/conversations/{id}', conversation);
    await ask('GET /v1/responses/{id}', created);
    await ask('GET /v1/responses/{id}/input_items', created);
    await ask('POST /v1/responses/{id}/cancel', created);
    await ask('DELETE /v1/responses/{id}', created);
  });

  it('as streams of chunks', async () => {
    const messages = [{ role: 'user', content: 'hi' }];
    const stream_options = { include_usage: true };
    const wanted = { model, stream: true, stream_options };
    await askForStream('POST /v1/chat/completions', {
      ...wanted,
      messages,
      logprobs: true,
      top_logprobs: 1,
      n: 2,
    });
    await askForStream('POST /v1/completions', { ...wanted, prompt: 'hi', echo: true, logprobs: 1 });
    bench.script = failAfterOneWord;
    await askForStream('POST /v1/chat/completions', { ...wanted, messages });
    bench.script = answer;
  });

  it('as streams of events', async () => {
    const { parameters, ...call } = { name: 'weather', parameters: { type: 'object' } };
    const asked = { model, input: 'hi', stream: true };
    const types = [
      ...(await askForStream('POST /v1/responses', { ...asked, include: ['message.output_text.logprobs'] })),
      ...(await askForStream('POST /v1/responses', { ...asked, max_output_tokens: 1 })),
    ];
    bench.script = failAfterOneWord;
    types.push(...(await askForStream('POST /v1/responses', asked)));
    const withTools = await TestBench.start({ chatTemplate: toolTemplate });
    try {
      withTools.script = sayText(`<toolcall> ${JSON.stringify({ ...call, arguments: {} })} </toolcall>`);
      const tools = [{ type: 'function', ...call, parameters }];
      const { url } = await withTools.startGateway();
      types.push(...(await askForStream('POST /v1/responses', { ...asked, tools }, url)));
    } finally {
      await withTools.stop();
    }
    bench.script = answer;
    const described = streamEvents.ResponseEvent.options.map(({ shape }) => shape.type.value);
    expect([...new Set(types)].toSorted()).toEqual(described.toSorted());
  });

  it('to operators', async () => {
    const { connection } = bench.log;
    const status: WorkerStatus = {
      v: 1,
      worker: 'scripted',
      pid: 1,
      host: 'here',
      state: 'running',
      device: 'cpu',
      model,
      fingerprint: 'f',
      slots: 1,
      generations: [{ id: `resp_${'1'.repeat(32)}`, tokens: 3, stored: 1 }],
    };
    const beat = setInterval(() => connection.publish(heartbeatSubject, JSON.stringify(status)), 20);
    const stop = serveCommands(connection, 'scripted', () => ({ done: true, reason: 'on its way' }));
    const ended = Promise.withResolvers<void>();
    const begun = Promise.withResolvers<void>();
    bench.script = async (job, writer, tokenizer) => {
      begun.resolve();
      await ended.promise;
      await answer(job, writer, tokenizer);
    };
    try {
      const running = await ask('POST /v1/responses', {}, { model, input: 'hi', background: true });
      await begun.promise;
      await expect.poll(async () => (await ask('GET /admin/workers')).data).toHaveLength(1);
      await ask('POST /admin/workers/{id}/drain', { id: 'scripted' });
      await ask('POST /admin/generations/{id}/migrate', running);
    } finally {
      ended.resolve();
      clearInterval(beat);
      stop();
    }
  });

  it('to everything that is described', async () => {
    await ask('GET /healthz');
    await ask('GET /readyz');
    await ask('GET /openapi.json');
    const answered = Object.entries(operations)
      .filter(([, { answer }]) => answer && answer !== 'text')
      .map(([operation]) => operation);
    expect([...asked].toSorted()).toEqual(answered.toSorted());
  });
});
