import { runBaton } from '@baton/cli/src/run-baton.ts';
import { TokenLog } from '@baton/log';
import { OtlpReceiver, type ReceivedSpan } from '@baton/testing/otlp-receiver';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import WebSocket from 'ws';
import { parsePage, type Sample, sumOf } from '../support/prometheus-page.ts';
import { ownerOf, type StreamedResponse, streamResponse } from '../support/streamed-response.ts';
import { type System, startSystem } from '../support/system.ts';

const newTraceparent = () => {
  const hex = (digits: number) =>
    Array.from({ length: digits }, () => Math.floor(Math.random() * 16).toString(16)).join('');
  const [traceId, spanId] = [`1${hex(31)}`, `2${hex(15)}`];
  return { traceId, spanId, traceparent: `00-${traceId}-${spanId}-01` };
};

describe('a generation whose worker is killed in the middle', () => {
  const client = newTraceparent();
  let receiver: OtlpReceiver;
  let system: System;
  let log: TokenLog;
  let openai: OpenAI;
  let killed: string;
  let response: StreamedResponse;

  beforeAll(async () => {
    receiver = await OtlpReceiver.start();
    system = await startSystem({
      workers: 2,
      metrics: true,
      env: { ...receiver.env, OTEL_BSP_SCHEDULE_DELAY: '50', BATON_SNAPSHOT_TOKENS: '16' },
    });
    log = await TokenLog.open(system.natsUrl);
    openai = new OpenAI({
      baseURL: `${system.url}/v1`,
      apiKey: 'none',
      maxRetries: 0,
      defaultHeaders: { traceparent: client.traceparent },
    });
    const body = {
      input: 'Tell me a long story about a boat and a bear.',
      max_output_tokens: 600,
      ignore_eos: true,
    };
    response = await streamResponse(openai, log, body, {
      after: 20,
      disturb: async (id) => {
        killed = String((await log.read(id))?.owner);
        const owner = await ownerOf(system, log, id);
        // What it has traced so far has been sent, and a snapshot is stored.
        await receiver.waitFor(({ name, resource }) => name === 'snapshot' && isOf(resource, killed));
        await owner.end('SIGKILL');
      },
    });
    // The last span of each process to end: of the gateway, and of the worker that finished.
    for (const last of ['POST /v1/responses', 'process generations']) {
      await receiver.waitFor(({ name, traceId }) => name === last && traceId === client.traceId);
    }
  }, 240_000);
  afterAll(async () => {
    await log?.close();
    await system?.stop();
    await receiver?.stop();
  });

  const servers = () => ({ BATON_REDIS_URL: system.redisUrl, BATON_NATS_URL: system.natsUrl });
  const isOf = (resource: ReceivedSpan['resource'], worker: string) =>
    resource['service.instance.id'] === worker;
  const inTrace = () => receiver.spans.filter(({ traceId }) => traceId === client.traceId);

  it('is one trace, from the client to its last token', () => {
    const spans = inTrace();
    const services = new Map<string, Set<unknown>>();
    for (const { name, resource } of spans) {
      const of = services.get(name) ?? new Set();
      services.set(name, of.add(resource['service.instance.id']));
    }
    const gatewayId = spans.find(({ name }) => name === 'POST /v1/responses')?.resource[
      'service.instance.id'
    ];
    const successor = system.workers.map((_, i) => `worker-${i + 1}`).find((name) => name !== killed);
    for (const name of ['validate', 'enqueue', 'add generations.generation', 'deliver']) {
      expect([...(services.get(name) ?? [])], name).toEqual([gatewayId]);
    }
    // And by a worker that was faster.
    expect([...(services.get('append queued') ?? [])]).toContain(gatewayId);
    expect([...(services.get('wait') ?? [])]).toEqual([killed]);
    for (const name of ['claim', 'append claimed', 'restore', 'prefill', 'snapshot']) {
      expect([...(services.get(name) ?? [])].toSorted(), name).toEqual(['worker-1', 'worker-2']);
    }
    for (const name of ['process generations', 'decode', 'append finish']) {
      expect([...(services.get(name) ?? [])], name).toEqual([successor]);
    }
    expect(spans.filter(({ status }) => status === 'error')).toEqual([]);
  });

  it('hangs together, but for what died before it could be told', () => {
    const spans = inTrace();
    const ids = new Set([client.spanId, ...spans.map(({ spanId }) => spanId)]);
    const torn = spans.filter(({ parentSpanId }) => !ids.has(parentSpanId ?? ''));
    expect(torn.filter(({ resource }) => !isOf(resource, killed))).toEqual([]);
  });

  it('links every span of the second attempt to the first', () => {
    const spans = inTrace();
    const first = spans.find(({ name, resource }) => name === 'append claimed' && isOf(resource, killed));
    for (const name of ['claim', 'restore', 'prefill', 'decode']) {
      const later = spans.find((span) => span.name === name && !isOf(span.resource, killed));
      expect(later?.links, name).toEqual([
        { traceId: client.traceId, spanId: first?.spanId, attributes: { 'baton.link': 'first_attempt' } },
      ]);
      const earlier = spans.find((span) => span.name === name && isOf(span.resource, killed));
      expect(earlier?.links ?? []).toEqual([]);
    }
  });

  it('says where the state came from, how much, and why', () => {
    const restores = inTrace().filter(({ name }) => name === 'restore');
    const [before, after] = [killed, ''].map((of) =>
      restores.find(({ resource }) => (of === '' ? !isOf(resource, killed) : isOf(resource, of))),
    );
    expect(before?.attributes).toMatchObject({
      'baton.restore.source': 'none',
      'baton.restore.reason': 'it is new',
    });
    expect(after?.attributes).toMatchObject({
      'baton.restore.source': 'snapshot',
      'baton.restore.of': 'generation',
      'baton.restore.reason': 'costs are not measured yet',
    });
    const { attributes = {} } = after ?? {};
    expect(attributes['baton.restore.tokens']).toBeGreaterThan(0);
    expect(attributes['baton.restore.bytes']).toBeGreaterThan(1000);
    expect(attributes['baton.restore.milliseconds']).toBeGreaterThan(0);
  });

  it('tells decoding in one span with events, and prefilling chunk by chunk', () => {
    const spans = inTrace();
    const decode = spans.find(({ name }) => name === 'decode');
    expect(new Set(decode?.events.map(({ name }) => name))).toEqual(new Set(['state']));
    expect(decode?.attributes['gen_ai.usage.output_tokens']).toBeGreaterThan(0);
    const prefills = spans.filter(({ name }) => name === 'prefill');
    expect(prefills).toHaveLength(2);
    for (const { events } of prefills) expect(events.map(({ name }) => name)).toContain('chunk');
  });

  it('moves the metrics of gateway and worker, and their pages parse', async () => {
    const gateway = parsePage(await system.gateway.metrics());
    const onItsPort = parsePage(await (await fetch(`${system.url}/metrics`)).text());
    // The delay of the event loop is measured from page to page, and is not there where there was no time to.
    const names = (page: Sample[]) =>
      new Set(page.map(({ name }) => name).filter((name) => !name.startsWith('nodejs_eventloop_delay_')));
    expect(names(onItsPort)).toEqual(names(gateway));
    const labels = { gen_ai_operation_name: 'chat', gen_ai_request_model: 'hymba-tiny-stories' };
    for (const name of ['request_duration', 'time_to_first_token', 'time_per_output_token']) {
      expect(sumOf(gateway, `gen_ai_server_${name}_seconds_count`, labels), name).toBe(1);
    }
    expect(sumOf(gateway, 'gen_ai_server_request_duration_seconds_sum', labels)).toBeGreaterThan(0);
    expect(sumOf(gateway, 'baton_fleet_workers', { baton_state: 'running' })).toBe(1);
    expect(sumOf(gateway, 'baton_fleet_workers', { baton_state: 'silent' })).toBe(1);
    expect(gateway.some(({ name }) => name === 'baton_queue_depth')).toBe(true);
    expect(sumOf(gateway, 'nodejs_eventloop_utilization_ratio')).toBeGreaterThan(0);

    const survivor = system.workers.find(({ alive }) => alive);
    const worker = parsePage(String(await survivor?.metrics()));
    expect(sumOf(worker, 'baton_takeovers_total', { baton_cause: 'failover' })).toBe(1);
    expect(sumOf(worker, 'baton_takeovers_total', { baton_cause: 'migration' })).toBe(0);
    const restored = { baton_restore_source: 'snapshot', baton_restore_of: 'generation' };
    expect(sumOf(worker, 'baton_restores_total', restored)).toBe(1);
    const { tokens, terminal } = response.state;
    const outcome = terminal?.kind === 'finish' ? terminal.reason : 'none';
    expect(sumOf(worker, 'baton_generations_total', { baton_outcome: outcome })).toBe(1);
    expect(sumOf(worker, 'baton_tenant_tokens_total', { baton_kind: 'output' })).toBe(tokens.length);
    const sampled = sumOf(worker, 'baton_engine_tokens_total', { baton_direction: 'out' });
    expect(sampled).toBeGreaterThan(0);
    expect(sampled).toBeLessThan(tokens.length);
    expect(sumOf(worker, 'baton_engine_batch_size_count')).toBeGreaterThan(0);
    expect(
      sumOf(worker, 'baton_engine_step_duration_seconds_count', { baton_phase: 'prefill' }),
    ).toBeGreaterThan(0);
    expect(sumOf(worker, 'baton_snapshots_total', { baton_outcome: 'saved' })).toBeGreaterThan(0);
    const bytes = (kind: string) => sumOf(worker, 'baton_snapshot_size_bytes_total', { baton_kind: kind });
    expect(bytes('raw')).toBeGreaterThan(0);
    expect(bytes('stored')).toBeGreaterThanOrEqual(bytes('new'));
    expect(sumOf(worker, 'baton_log_append_duration_seconds_count')).toBeGreaterThan(0);
    expect(sumOf(worker, 'baton_log_fenced_appends_total')).toBe(0);
    expect(sumOf(worker, 'baton_worker_slots', { baton_state: 'used' })).toBe(0);
    expect(sumOf(worker, 'baton_worker_slots')).toBe(8);
    expect(sumOf(worker, 'baton_state_memory_bytes', { baton_state: 'warm' })).toBeGreaterThan(0);
  });

  it('is what a follow-up turn links to, and counts what is refused and resumed', async () => {
    const turn = newTraceparent();
    const follow = await openai.responses.create(
      {
        model: 'hymba-tiny-stories',
        input: 'And then?',
        previous_response_id: response.id,
        max_output_tokens: 4,
      },
      { headers: { traceparent: turn.traceparent } },
    );
    expect(follow.usage?.input_tokens_details.cached_tokens).toBeGreaterThan(0);
    const request = await receiver.waitFor(
      ({ name, traceId }) => name === 'POST /v1/responses' && traceId === turn.traceId,
    );
    const queued = inTrace().find(({ name }) => name === 'append queued');
    expect(request.links).toEqual([
      { traceId: client.traceId, spanId: queued?.spanId, attributes: { 'baton.link': 'previous_turn' } },
    ]);

    const refused = openai.responses.create({ model: 'another', input: 'x' });
    await expect(refused).rejects.toThrow();
    const resumed = await fetch(`${system.url}/v1/responses/${response.id}?stream=true&starting_after=3`);
    await resumed.text();
    const gateway = parsePage(await system.gateway.metrics());
    expect(sumOf(gateway, 'baton_rejections_total', { error_type: 'model_not_found' })).toBe(1);
    expect(sumOf(gateway, 'baton_resumes_total', { baton_transport: 'sse' })).toBe(1);
  });

  it('honours the traceparent of a WebSocket', async () => {
    const socketTrace = newTraceparent();
    const socket = new WebSocket(`${system.url.replace('http', 'ws')}/v1/responses`, {
      headers: { traceparent: socketTrace.traceparent },
    });
    await new Promise((resolve) => socket.once('open', resolve));
    const frame = { type: 'response.create', model: 'hymba-tiny-stories', input: 'Hi', max_output_tokens: 3 };
    socket.send(JSON.stringify(frame));
    const decode = await receiver.waitFor(
      ({ name, traceId }) => name === 'decode' && traceId === socketTrace.traceId,
    );
    expect(decode.resource['service.name']).toBe('baton-worker');
    const root = await receiver.waitFor(
      ({ name, traceId }) => name === 'WebSocket response.create' && traceId === socketTrace.traceId,
    );
    expect(root.parentSpanId).toBe(socketTrace.spanId);
    expect(sumOf(parsePage(await system.gateway.metrics()), 'baton_websockets')).toBe(1);
    socket.close();
  });

  it('is printed by `baton trace`, from the log and the snapshot alone', async () => {
    const { code, stdout, stderr } = await runBaton(['trace', response.id], import.meta.dirname, servers());
    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(stdout).toContain(`trace ${client.traceId}`);
    expect(stdout).toContain(`${killed} ▕`);
    expect(stdout).toMatch(/lost; its client waited \d+/);
    expect(stdout).toContain('claimed, epoch 2');
    expect(stdout).toMatch(/finished \(\w+\): \d+ tokens/);
    expect(stdout).toMatch(/snapshot: \d+ tokens in \d+ pages/);
    expect(stdout).not.toContain(response.text.slice(0, 20));
    const noStore = { ...servers(), BATON_SNAPSHOT_STORE: 'redis://127.0.0.1:1' };
    const alone = await runBaton(['trace', response.id], import.meta.dirname, noStore);
    expect(alone.stdout).toContain('snapshot: cannot be read: Redis at 127.0.0.1:1');
    expect(alone.stdout.split('\nsnapshot:')[0]).toBe(stdout.split('\nsnapshot:')[0]);
    const unknown = await runBaton(['trace', `resp_${'0'.repeat(32)}`], import.meta.dirname, servers());
    expect(unknown).toMatchObject({ code: 1, stderr: expect.stringContaining('there is no generation') });
  });

  it('is seen by `baton top`', async () => {
    const { code, stdout } = await runBaton(['top', '--once'], import.meta.dirname, servers());
    expect(code).toBe(0);
    expect(stdout).toContain('1 of 1 workers');
    expect(stdout).toContain('queue: 0 waiting, 0 running, 0 refused');
    expect(stdout).toMatch(/worker-\d +.*running/);
  });

  it('is logged with its trace, and without what was said', () => {
    const survivor = system.workers.find(({ alive }) => alive);
    const lines = String(survivor?.output).trim().split('\n');
    const events = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(events.find(({ msg }) => msg === 'taken over')).toMatchObject({
      generation: response.id,
      trace_id: client.traceId,
      epoch: 2,
      source: 'snapshot',
      why: 'costs are not measured yet',
    });
    const everything = [system.gateway, ...system.workers].map(({ output }) => output).join('\n');
    expect(everything).not.toContain('boat');
    expect(everything).not.toContain(response.text.slice(0, 20));
  });
});
