import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { operations } from './openapi.ts';
import { type RunningGateway, TestBench } from './testing/test-bench.ts';

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
            schema: { required: string[]; properties: object; additionalProperties: boolean };
          };
        };
      };
    };
    const { schema } = chat.requestBody.content['application/json'];
    expect(schema.required.toSorted()).toEqual(['messages', 'model']);
    expect(schema.additionalProperties).toBe(false);
    expect(Object.keys(schema.properties)).toEqual(
      expect.arrayContaining(['ignore_eos', 'logit_bias', 'tools', 'n']),
    );
    const retrieve = document.paths['/v1/responses/{id}']?.['get']?.parameters;
    expect(retrieve?.map((parameter) => `${parameter.in} ${parameter.name}`)).toEqual(
      expect.arrayContaining(['path id', 'query stream', 'query starting_after']),
    );
  });
});
