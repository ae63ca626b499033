import { TokenLog } from '@baton/log';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { toolTemplate } from '../../services/gateway/src/testing/tool-template.ts';
import { ownerOf, type StreamedResponse, streamResponse } from '../support/streamed-response.ts';
import { type System, startSystem } from '../support/system.ts';

const animal = {
  type: 'object',
  properties: {
    name: { type: 'string', minLength: 10, maxLength: 24 },
    kind: { enum: ['bear', 'boat', 'naïve 猫'] },
    age: { type: 'integer', minimum: 0, maximum: 130 },
    born: { type: 'string', format: 'date' },
  },
  required: ['name', 'kind', 'age', 'born'],
  additionalProperties: false,
};
const schema = {
  type: 'object',
  properties: { animals: { type: 'array', items: animal, minItems: 8, maxItems: 9 } },
  required: ['animals'],
  additionalProperties: false,
};
const request = {
  input: 'Tell me about the animals.',
  max_output_tokens: 1800,
  text: { format: { type: 'json_schema', name: 'animals', schema, strict: true } },
};
const samplings = {
  greedy: { temperature: 0 },
  sampled: { temperature: 0.9, top_p: 0.95, presence_penalty: 0.5, seed: 7 },
};
const greedy = {
  model: 'hymba-tiny-stories',
  input: request.input,
  max_output_tokens: 1600,
  background: true,
  temperature: 0,
};
const names = Object.keys(samplings) as (keyof typeof samplings)[];

describe('JSON that fits a schema', () => {
  let system: System;
  let openai: OpenAI;
  let log: TokenLog;
  const undisturbed = new Map<string, StreamedResponse>();

  beforeAll(async () => {
    system = await startSystem({
      workers: 2,
      chatTemplate: toolTemplate,
      env: { BATON_SNAPSHOT_TOKENS: '16' },
    });
    openai = new OpenAI({
      baseURL: `${system.url}/v1`,
      apiKey: 'none-needed',
      maxRetries: 0,
      timeout: 60_000,
    });
    log = await TokenLog.open(system.natsUrl);
    for (const name of names) undisturbed.set(name, await run(name));
  });
  afterAll(async () => {
    await log?.close();
    await system?.stop();
  });

  const run = (name: keyof typeof samplings, disturb?: (id: string) => unknown) =>
    streamResponse(openai, log, { ...request, ...samplings[name] }, disturb && { after: 25, disturb });

  it.each(names)('is what the model says undisturbed (%s)', (name) => {
    const { text, state } = undisturbed.get(name) as StreamedResponse;
    expect(state.terminal).toMatchObject({ kind: 'finish', reason: 'stop' });
    expect(state.tokens.length).toBeGreaterThan(60);
    expectValid(text);
  });

  it.each(names)('is the same where its worker is killed, token by token (%s)', async (name) => {
    const killed = await run(name, async (id) => (await ownerOf(system, log, id)).end('SIGKILL'));
    expectSame(killed, name);
    await system.addWorker();
  });

  it('is the same where its worker drains', async () => {
    const moved = await run('sampled', async (id) => {
      const worker = await ownerOf(system, log, id);
      // Not awaited: it ends when it has handed over, and that can be read in the stream.
      void worker.end('SIGTERM');
    });
    expectSame(moved, 'sampled');
    await system.addWorker();
  });

  it('is the same where it is migrated', async () => {
    const moved = await run('greedy', async (id) => {
      const answer = await fetch(`${system.url}/admin/generations/${id}/migrate`, { method: 'POST' });
      expect(answer.status).toBe(202);
    });
    expectSame(moved, 'greedy');
  });

  it('is the same in a call that the request forces, where its worker is killed', async () => {
    const call = async (disturb?: (id: string) => Promise<unknown>) => {
      const { id } = await openai.responses.create({
        ...greedy,
        tools: [{ type: 'function', name: 'tell', strict: true, parameters: schema }],
        tool_choice: 'required',
        parallel_tool_calls: false,
      });
      const feed = await log.subscribe(id);
      for await (const _ of feed.entries()) {
        if (disturb && feed.state.epoch === 1 && feed.state.tokens.length > 25) {
          await disturb(id);
          disturb = undefined;
        }
      }
      const { output } = await openai.responses.retrieve(id);
      return { output, state: feed.state };
    };
    const whole = await call();
    const killed = await call(async (id) => (await ownerOf(system, log, id)).end('SIGKILL'));
    expect(killed.state.epoch).toBeGreaterThan(1);
    expect(killed.state.tokens).toEqual(whole.state.tokens);
    for (const { output } of [whole, killed]) {
      expect(output).toMatchObject([{ type: 'function_call', name: 'tell', status: 'completed' }]);
      expectValid(output[0]?.type === 'function_call' ? output[0].arguments : '');
    }
    await system.addWorker();
  });

  function expectSame(found: StreamedResponse, name: string): void {
    expect(found.state.epoch).toBeGreaterThan(1);
    expect(found.state.tokens).toEqual(undisturbed.get(name)?.state.tokens);
    expect(found.text).toBe(undisturbed.get(name)?.text);
    expect(found.state.text).toBe(found.text);
    expectValid(found.text);
  }

  /** All that the schema says. */
  function expectValid(text: string): void {
    const document = JSON.parse(text) as { animals: Record<string, unknown>[] };
    expect(Object.keys(document)).toEqual(schema.required);
    expect([8, 9]).toContain(document.animals.length);
    for (const each of document.animals) {
      expect(Object.keys(each)).toEqual(animal.required);
      expect(each['name']).toMatch(/^.{10,24}$/su);
      expect(animal.properties.kind.enum).toContain(each['kind']);
      expect(each['age']).toSatisfy((age) => Number.isInteger(age) && age >= 0 && age <= 130);
      expect(each['born']).toSatisfy((born) => new Date(String(born)).toISOString().startsWith(String(born)));
    }
  }
});
