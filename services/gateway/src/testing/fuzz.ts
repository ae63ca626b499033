import { exampleId } from '@baton/protocol/testing';
import fc from 'fast-check';
import { WebSocket } from 'ws';
import { operations } from '../openapi.ts';

const model = 'hymba-tiny-stories';
const id = exampleId();

const strict = {
  name: 'f',
  strict: true,
  parameters: {
    type: 'object',
    properties: { a: { type: 'string' } },
    required: ['a'],
    additionalProperties: false,
  },
};

/** A request that is fine, small, and quickly answered; what is fuzzed is what it becomes. */
const bodies: Record<string, Record<string, unknown>> = {
  'POST /v1/chat/completions': {
    model,
    messages: [
      { role: 'user', content: [{ type: 'text', text: 'hi' }] },
      { role: 'assistant', content: 'yes' },
    ],
    max_tokens: 2,
    tools: [{ type: 'function', function: strict }],
    tool_choice: 'auto',
  },
  'POST /v1/completions': { model, prompt: 'hi', max_tokens: 2 },
  'POST /v1/responses': {
    model,
    input: [
      { role: 'user', content: [{ type: 'input_text', text: 'hi' }] },
      { type: 'message', role: 'assistant', content: 'yes' },
    ],
    max_output_tokens: 2,
    tools: [{ type: 'function', ...strict }],
    tool_choice: 'auto',
  },
  'POST /v1/conversations': { items: [{ role: 'user', content: 'hi' }], metadata: { a: 'b' } },
  'POST /v1/conversations/{id}': { metadata: { a: 'b' } },
  'POST /v1/conversations/{id}/items': { items: [{ role: 'user', content: 'hi' }] },
  'POST /admin/generations/{id}/migrate': { to: 'worker-1' },
};
const fields = [
  ...[
    'background',
    'best_of',
    'conversation',
    'echo',
    'frequency_penalty',
    'function_call',
    'ignore_eos',
    'include',
  ],
  ...[
    'instructions',
    'logit_bias',
    'logprobs',
    'max_completion_tokens',
    'max_output_tokens',
    'metadata',
    'min_p',
  ],
  ...[
    'min_tokens',
    'n',
    'parallel_tool_calls',
    'presence_penalty',
    'previous_response_id',
    'reasoning',
    'seed',
  ],
  ...[
    'repetition_penalty',
    'response_format',
    'stop',
    'store',
    'stream',
    'stream_options',
    'suffix',
    'temperature',
  ],
  ...[
    'text',
    'tool_choice',
    'tools',
    'top_k',
    'top_logprobs',
    'top_p',
    'truncation',
    'user',
    '__proto__',
    'colour',
  ],
];

const hostile: fc.Arbitrary<unknown> = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }),
  fc.constantFrom(
    null,
    '',
    0,
    -1,
    1e308,
    Number.MAX_SAFE_INTEGER,
    '\ud800',
    '\0',
    {},
    [],
    [[]],
    [null],
    true,
  ),
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.integer({ min: -3, max: 200 }),
  fc.double({ min: -3, max: 3, noNaN: true }),
  fc.constantFrom('auto', 'none', 'required', model, id, 'conv_1', 'json_object'),
  fc.array(
    fc.record(
      { type: fc.string(), role: fc.constantFrom('user', 'tool', 'king'), content: fc.jsonValue() },
      { requiredKeys: [] },
    ),
  ),
  fc.record(
    {
      type: fc.constantFrom('function', 'json_schema', 'text', 'x'),
      name: fc.string(),
      function: fc.jsonValue(),
    },
    { requiredKeys: [] },
  ),
  fc.dictionary(
    fc.constantFrom('1', '-1', '99999999', 'a', '__proto__', 'constructor'),
    fc.jsonValue({ maxDepth: 1 }),
  ),
);

type Step = string | number;
interface Change {
  readonly path: Step[];
  readonly value: unknown;
}

/** Everywhere in a value that something else can be put. */
function pathsOf(value: unknown, at: Step[] = []): Step[][] {
  if (typeof value !== 'object' || value === null) return [];
  const keys: Step[] = Array.isArray(value) ? [...value.keys()] : [...Object.keys(value), 'colour'];
  return keys.flatMap((key) => [[...at, key], ...pathsOf(Object(value)[key], [...at, key])]);
}

function changed(value: unknown, { path: [step, ...rest], value: put }: Change): unknown {
  if (step === undefined) return put;
  const copy = Array.isArray(value) ? [...value] : { ...Object(value) };
  const inner = changed(copy[step], { path: rest, value: put });
  Object.defineProperty(copy, step, { value: inner, enumerable: true, configurable: true, writable: true });
  return copy;
}

/** A body with one place changed, at the top or deep inside. */
function changedBody(body: Record<string, unknown>) {
  const deep = fc.constantFrom(...pathsOf(body));
  const top = fc.constantFrom(...fields, ...Object.keys(body)).map((field): Step[] => [field]);
  return fc
    .record({ path: fc.oneof(top, deep), value: fc.oneof(hostile, fc.constant(undefined)) })
    .map((change) => ({ sent: JSON.stringify(changed(body, change)), field: String(change.path[0]) }));
}

/** One HTTP request, to a model with tools. `field` is the only one that can be wrong, where there is one. */
export interface HttpCase {
  readonly route: string;
  readonly ids: readonly string[];
  readonly query: string;
  readonly body: string | undefined;
  readonly contentType: string;
  readonly key: string | undefined;
  readonly field: string | null;
}

const someId = fc.oneof(
  fc.constantFrom(id, id.replace('resp', 'conv'), 'x', '..', '%00', model),
  fc.string({ unit: 'binary', minLength: 1, maxLength: 20 }),
);
const someQuery = fc.oneof(
  { weight: 3, arbitrary: fc.constant('') },
  {
    weight: 2,
    arbitrary: fc
      .dictionary(
        fc.constantFrom('stream', 'starting_after', 'limit', 'order', 'after', 'include', 'include[]', 'x'),
        fc.oneof(fc.constantFrom('true', 'false', '0', '5', '-1', '1e3', 'asc', 'desc', ''), fc.string()),
      )
      .map((query) => `?${new URLSearchParams(query)}`),
  },
);

const httpCase: fc.Arbitrary<HttpCase> = fc
  .constantFrom(...Object.keys(operations))
  .chain((route): fc.Arbitrary<HttpCase> => {
    const body = bodies[route];
    const common = {
      route: fc.constant(route),
      ids: fc.array(someId, { minLength: 2, maxLength: 2 }),
      query: someQuery,
    };
    if (body === undefined) {
      return fc.record({
        ...common,
        body: fc.constant(undefined),
        contentType: fc.constant(''),
        key: fc.constant(undefined),
        field: fc.constant(null),
      });
    }
    const fine = fc.record({
      ...common,
      query: fc.constant(''),
      contentType: fc.constant('application/json'),
      key: fc.constant(undefined),
      changes: changedBody(body),
    });
    const wild = fc.record({
      ...common,
      contentType: fc.constantFrom(
        'application/json',
        'application/json; charset=utf-8',
        'text/plain',
        'x/y',
        '',
      ),
      key: fc.oneof(fc.constant(undefined), fc.constantFrom('', 'again', 'x'.repeat(300))),
      changes: fc
        .oneof(
          fc.string({ unit: 'binary' }),
          fc.json(),
          fc.constantFrom('', '{', 'null', '[]', '"a"', '{"a":1e999}'),
        )
        .map((sent) => ({ sent, field: null })),
    });
    return fc
      .oneof({ weight: 5, arbitrary: fine }, { weight: 1, arbitrary: wild })
      .map(({ changes, ...rest }) => ({ ...rest, body: changes.sent, field: changes.field }));
  });

/** One frame of a WebSocket. */
export interface FrameCase {
  readonly frame: string | Uint8Array;
  readonly field: string | null;
}

const create = { ...bodies['POST /v1/responses'], type: 'response.create' };
const frameCase: fc.Arbitrary<FrameCase> = fc.oneof(
  { weight: 5, arbitrary: changedBody(create).map(({ sent, field }) => ({ frame: sent, field })) },
  { weight: 1, arbitrary: fc.json().map((frame) => ({ frame, field: null })) },
  { weight: 1, arbitrary: fc.string({ unit: 'binary' }).map((frame) => ({ frame, field: null })) },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 50 }).map((frame) => ({ frame, field: null })) },
);

export type FuzzCase = { readonly http: HttpCase } | { readonly ws: FrameCase };
export const fuzzCase: fc.Arbitrary<FuzzCase> = fc.oneof(
  { weight: 4, arbitrary: httpCase.map((http) => ({ http })) },
  { weight: 1, arbitrary: frameCase.map((ws) => ({ ws })) },
);

/** Sends one case and throws where the answer is not one that a client could understand. */
export async function tryCase(url: string, fuzzed: FuzzCase): Promise<number> {
  return 'http' in fuzzed ? tryRequest(url, fuzzed.http) : tryFrame(url, fuzzed.ws);
}

async function tryRequest(url: string, { route, ids, query, body, contentType, key, field }: HttpCase) {
  const [method = 'GET', path = ''] = route.split(' ');
  const params = [...ids];
  const filled = path.replace(/\{\w+\}/g, () => encodeURIComponent((params.shift() ?? 'x').toWellFormed()));
  const response = await fetch(url + filled + query, {
    method,
    ...(body !== undefined && { body: body.toWellFormed() }),
    headers: {
      ...(contentType && { 'content-type': contentType }),
      ...(key !== undefined && { 'idempotency-key': key }),
    },
  });
  const text = await response.text();
  const { status } = response;
  if (status >= 500) throw new Error(`${status} ${text}`);
  if (status >= 400) checkError(status, JSON.parse(text), field);
  else if (text.includes('"server_error"')) throw new Error(text);
  return status;
}

async function tryFrame(url: string, { frame, field }: FrameCase): Promise<number> {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/v1/responses`);
  try {
    return await new Promise<number>((resolve, reject) => {
      socket.on('error', reject);
      socket.on('close', (code) => reject(new Error(`closed with ${code}`)));
      socket.on('open', () => socket.send(typeof frame === 'string' ? frame.toWellFormed() : frame));
      socket.on('message', (data) => {
        const answer = JSON.parse(data.toString());
        try {
          if (answer.type === 'error') {
            if (answer.status >= 500) throw new Error(data.toString());
            checkError(answer.status, answer, field);
            resolve(answer.status);
          } else if (answer.type === 'response.steer.failed') {
            resolve(400);
          } else if (answer.type === 'response.failed') {
            throw new Error(data.toString());
          } else if (/^response\.(completed|incomplete)$/.test(answer.type)) {
            resolve(200);
          }
        } catch (error) {
          reject(error);
        }
      });
    });
  } finally {
    socket.removeAllListeners('close');
    socket.terminate();
  }
}

/** Errors of these codes are about a field. */
const aboutFields = [
  'invalid_type',
  'invalid_value',
  'missing_required_parameter',
  'unknown_parameter',
  'unsupported_parameter',
  'unsupported_value',
];
/** What a field can be at odds with, so that either may be named. */
const related: Record<string, string[]> = {
  stream: ['stream_options'],
  logprobs: ['top_logprobs'],
  store: ['background', 'conversation'],
  previous_response_id: ['conversation', 'input'],
  n: ['best_of', 'prompt'],
};

function checkError(status: number, body: { error?: unknown }, field: string | null): void {
  const { message, type, param, code } = Object(body.error);
  const wellFormed =
    typeof message === 'string' &&
    message !== '' &&
    typeof type === 'string' &&
    typeof code === 'string' &&
    (param === null || typeof param === 'string');
  if (!wellFormed) throw new Error(`${status} without an error: ${JSON.stringify(body)}`);
  if (field === null || status !== 400 || !aboutFields.includes(code)) return;
  const named = param?.match(/^[^.[]+/)?.[0];
  if (named === field || related[field]?.includes(named ?? '')) return;
  throw new Error(`'${field}' was wrong, but the error is about ${param}: ${message}`);
}
