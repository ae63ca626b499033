import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TokenLog } from '@baton/log';
import { attributes } from '@baton/telemetry';
import { OtlpReceiver } from '@baton/testing/otlp-receiver';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { freePort } from '../support/processes.ts';
import { parsePage } from '../support/prometheus-page.ts';
import { ownerOf, streamResponse } from '../support/streamed-response.ts';
import { type System, startSystem } from '../support/system.ts';
import { root } from './dockerfile.ts';

const command = process.env['OTELCOL'] ?? 'otelcol-contrib';

/** A real collector with infra/collector/config.yaml, of which addresses are changed and nothing else. */
class Collector {
  readonly process: ChildProcess;
  readonly endpoint: string;
  readonly page: string;

  private constructor(process: ChildProcess, endpoint: string, page: string) {
    this.process = process;
    this.endpoint = endpoint;
    this.page = page;
  }

  /** Sends what it keeps to `store`, a receiver of OTLP over HTTP. */
  static async start(store: string, folder: string): Promise<Collector> {
    const [http, grpc, prometheus] = [await freePort(), await freePort(), await freePort()];
    const addresses = {
      receivers: {
        otlp: {
          protocols: { grpc: { endpoint: `127.0.0.1:${grpc}` }, http: { endpoint: `127.0.0.1:${http}` } },
        },
      },
      exporters: {
        prometheus: { endpoint: `127.0.0.1:${prometheus}` },
        'otlp_http/store': { endpoint: store, encoding: 'json' },
      },
      service: {
        pipelines: { traces: { exporters: ['otlp_http/store'] } },
        telemetry: { metrics: { level: 'none' } },
      },
    };
    const file = join(folder, 'addresses.yaml');
    await writeFile(file, stringify(addresses));
    const config = join(root, 'infra/collector/config.yaml');
    const child = spawn(command, [`--config=${config}`, `--config=${file}`], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let output = '';
    await new Promise<void>((resolve, reject) => {
      child.once('error', (error) =>
        reject(new Error(`${command} cannot be started (OTELCOL names another): ${error.message}`)),
      );
      child.once('exit', (code) => reject(new Error(`${command} ended (${code}):\n${output}`)));
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        output += text;
        if (output.includes('Everything is ready')) resolve();
      });
    });
    return new Collector(child, `http://127.0.0.1:${http}`, `http://127.0.0.1:${prometheus}/metrics`);
  }

  async stop(): Promise<void> {
    this.process.kill('SIGTERM');
    await once(this.process, 'exit');
  }
}

describe('the configuration of the collector, in a collector', () => {
  let folder: string;
  let store: OtlpReceiver;
  let collector: Collector;
  let system: System;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'baton-collector-'));
    store = await OtlpReceiver.start();
    collector = await Collector.start(store.endpoint, folder);
    system = await startSystem({
      workers: 2,
      env: {
        OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint,
        OTEL_METRIC_EXPORT_INTERVAL: '2000',
        BATON_SNAPSHOT_TOKENS: '16',
      },
    });
  });
  afterAll(async () => {
    await system?.stop();
    await collector?.stop();
    await store?.stop();
    await rm(folder, { recursive: true });
  });

  const seen = (trace: string) => store.spans.filter(({ traceId }) => traceId === trace);
  const names = (trace: string) => seen(trace).map(({ name }) => name);

  it('keeps a trace with a failover, also what came before it', async () => {
    const trace = traceOf('failover');
    const log = await TokenLog.open(system.natsUrl);
    const openai = new OpenAI({
      baseURL: `${system.url}/v1`,
      apiKey: 'none',
      defaultHeaders: { traceparent: `00-${trace}-00f067aa0ba902b7-01` },
    });
    const body = {
      input: 'Tell me a long story about a boat and a bear.',
      max_output_tokens: 600,
      ignore_eos: true,
    };
    await streamResponse(openai, log, body, {
      after: 100,
      disturb: async (id) => {
        await (await ownerOf(system, log, id)).end('SIGKILL');
      },
    });
    await log.close();
    await expect.poll(() => names(trace)).toContain('POST /v1/responses');
    await expect.poll(() => names(trace)).toContain('process generations');
    expect(names(trace)).toEqual(
      expect.arrayContaining(['validate', 'enqueue', 'restore', 'prefill', 'decode']),
    );
    expect(seen(trace).map((span) => span.attributes[attributes.epoch])).toEqual(
      expect.arrayContaining([1, 2]),
    );
  });

  it('keeps errors and what is slow, and their later spans, and a tenth of the rest', async () => {
    const ordinary = Array.from({ length: 1000 }, (_, i) => traceOf(`ordinary ${i}`));
    const [failed, slow] = [traceOf('an error'), traceOf('slow')];
    for (const trace of [...ordinary, failed, slow]) await send({ trace, name: 'before' });
    await send({ trace: failed, name: 'end', error: true });
    await send({ trace: slow, name: 'end', milliseconds: 11_000 });
    for (const trace of [failed, slow]) await send({ trace, name: 'after' });
    for (const trace of [failed, slow])
      await expect.poll(() => names(trace).toSorted()).toEqual(['after', 'before', 'end']);
    // The same ones each time: it goes by the ids.
    const kept = () => ordinary.filter((trace) => seen(trace).length > 0).length;
    await expect.poll(kept).toBeGreaterThan(80);
    expect(kept()).toBeLessThan(120);
  });

  it("tells metrics under the names of the services' own pages, until a service is gone", async () => {
    const page = async () => {
      const text = await (await fetch(collector.page)).text();
      return new Set(parsePage(text).map(({ name }) => name));
    };
    const openai = new OpenAI({ baseURL: `${system.url}/v1`, apiKey: 'none' });
    await openai.responses.create({
      model: 'hymba-tiny-stories',
      input: 'Once upon a time',
      max_output_tokens: 4,
    });
    const gauges = ['baton_worker_slots', 'baton_queue_depth', 'baton_fleet_workers'];
    const others = [
      'baton_queue_wait_duration_seconds_bucket',
      'gen_ai_server_request_duration_seconds_count',
    ];
    await expect
      .poll(async () => [...(await page())])
      .toEqual(expect.arrayContaining([...gauges, ...others]));
    for (const one of system.processes) await one.end('SIGKILL');
    const left = async () => [...(await page())].filter((name) => gauges.includes(name));
    await expect.poll(left).toEqual([]);
  });

  async function send({
    trace,
    name,
    milliseconds = 50,
    error = false,
  }: {
    trace: string;
    name: string;
    milliseconds?: number;
    error?: boolean;
  }): Promise<void> {
    const end = Date.now();
    const span = {
      traceId: trace,
      spanId: hex(`${trace} ${name}`, 16),
      name,
      kind: 1,
      startTimeUnixNano: `${end - milliseconds}000000`,
      endTimeUnixNano: `${end}000000`,
      status: error ? { code: 2 } : {},
    };
    const response = await fetch(`${collector.endpoint}/v1/traces`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ resourceSpans: [{ scopeSpans: [{ spans: [span] }] }] }),
    });
    expect(response.status).toBe(200);
  }
});

function traceOf(name: string): string {
  return hex(name, 32);
}

function hex(text: string, digits: number): string {
  return createHash('sha256').update(text).digest('hex').slice(0, digits);
}
