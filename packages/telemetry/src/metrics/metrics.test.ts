import { OtlpReceiver } from '@baton/testing/otlp-receiver';
import { describe, expect, it } from 'vitest';
import { inProcess } from '../in-process.ts';
import { metricDefinitions } from './definitions.ts';
import { nameWithUnit, prometheusNames } from './prometheus-name.ts';

const record = `
  count('rejections', 2, { [attributes.errorType]: 'overloaded' });
  measure('queueWait', 0.003);
  measure('queueWait', 7);
  const [fed, sampled] = ['in', 'out'].map((direction) => adderOf('engineTokens', { [attributes.direction]: direction }));
  for (let step = 0; step < 3; step++) fed(4);
  const seconds = recorderOf('stepDuration', { [attributes.phase]: 'decode' });
  for (const value of [0.002, 0.004]) seconds(value);
  const stop = observe('slots', (result) => result.observe(5, { [attributes.state]: 'used' }));
  observe('webSockets', (result) => result.observe(1))();`;

describe('over OTLP', () => {
  it('sends what was recorded, under the definitions, and what the runtime tells of itself', async () => {
    const receiver = await OtlpReceiver.start();
    try {
      expect(
        await inProcess(record, {
          ...receiver.env,
          OTEL_TRACES_EXPORTER: 'none',
          // Shorter than the default for the timeout.
          OTEL_METRIC_EXPORT_INTERVAL: '5000',
        }),
      ).toBe('');
      const point = (name: string) => receiver.points.filter((candidate) => candidate.name === name);
      expect(point('baton.rejections')).toMatchObject([
        {
          value: 2,
          unit: '{request}',
          attributes: { 'error.type': 'overloaded' },
          resource: { 'service.name': 'baton-test', 'service.instance.id': 'a' },
        },
      ]);
      expect(point('baton.queue.wait.duration')).toMatchObject([{ value: 7.003, count: 2, unit: 's' }]);
      expect(point('baton.engine.tokens')).toMatchObject([
        { value: 12, unit: '{token}', attributes: { 'baton.direction': 'in' } },
        { value: 0, attributes: { 'baton.direction': 'out' } },
      ]);
      expect(point('baton.engine.step.duration')).toMatchObject([
        { value: 0.006, count: 2, unit: 's', attributes: { 'baton.phase': 'decode' } },
      ]);
      expect(point('baton.worker.slots')).toMatchObject([
        { value: 5, attributes: { 'baton.state': 'used' } },
      ]);
      expect(point('baton.websockets')).toEqual([]);
      expect(point('nodejs.eventloop.utilization')).toHaveLength(1);
      expect(receiver.spans).toEqual([]);
    } finally {
      await receiver.stop();
    }
  });
});

describe('a gauge', () => {
  it('is not there while nobody knows what it is, over OTLP and for Prometheus, also for two who look at once', async () => {
    const receiver = await OtlpReceiver.start();
    try {
      // Known at first, then unknown while other gauges are still observed, and known again.
      const script = `
        const { setTimeout: sleep } = await import('node:timers/promises');
        let [depth, looks] = [3, 0];
        // The second of two is answered after the first has been.
        observe('queueDepth', async (result) => { await sleep(20 * ++looks); if (depth !== null) result.observe(depth); });
        observe('webSockets', (result) => result.observe(1));
        const { metricsPage } = telemetry;
        const shown = async () => {
          const pages = await Promise.all([metricsPage(), metricsPage()]);
          return pages.map((page) => page.match(/^baton_(queue_depth|websockets) .*$/gm).join(', ')).join('; ');
        };
        console.log(await shown());
        depth = null;
        console.log(await shown());
        depth = 0;
        console.log(await shown());
        await metrics.getMeterProvider().forceFlush();
        depth = null;`;
      const printed = await inProcess(script, {
        ...receiver.env,
        OTEL_TRACES_EXPORTER: 'none',
        OTEL_METRICS_EXPORTER: 'otlp,prometheus',
        OTEL_EXPORTER_PROMETHEUS_HOST: '127.0.0.1',
        OTEL_EXPORTER_PROMETHEUS_PORT: '29466',
      });
      const [known, unknown] = ['baton_queue_depth 3, baton_websockets 1', 'baton_websockets 1'];
      const again = 'baton_queue_depth 0, baton_websockets 1';
      const lines = [known, unknown, again].map((line) => `${line}; ${line}`);
      expect(printed.trimEnd().split('\n')).toEqual(lines);
      // Sent by the flush, and not by the shutdown after it.
      const sent = (wanted: string) => receiver.points.filter(({ name }) => name === wanted).length;
      expect([sent('baton.websockets'), sent('baton.queue.depth')]).toEqual([2, 1]);
    } finally {
      await receiver.stop();
    }
  });
});

describe('for Prometheus', () => {
  const scrape = `
    ${record}
    const answer = await fetch('http://127.0.0.1:' + process.env.OTEL_EXPORTER_PROMETHEUS_PORT + '/metrics');
    console.log(await answer.text());
    console.log('the page for another port:');
    console.log(await telemetry.metricsPage());`;
  const onPort = (port: number) => ({
    OTEL_METRICS_EXPORTER: 'prometheus',
    OTEL_EXPORTER_PROMETHEUS_HOST: '127.0.0.1',
    OTEL_EXPORTER_PROMETHEUS_PORT: String(port),
  });

  it('serves a page with units in its names', async () => {
    const page = await inProcess(scrape, onPort(29_464));
    expect(page).toContain('# TYPE baton_rejections_total counter\n');
    expect(page).toContain('\nbaton_rejections_total{error_type="overloaded"} 2\n');
    expect(page).toContain('\nbaton_queue_wait_duration_seconds_bucket{le="0.005"} 1\n');
    expect(page).toContain('\nbaton_queue_wait_duration_seconds_count 2\n');
    expect(page).toContain('\nbaton_engine_tokens_total{baton_direction="in"} 12\n');
    expect(page).toContain('\nbaton_worker_slots{baton_state="used"} 5\n');
    expect(page).toMatch(/^nodejs_eventloop_utilization_ratio /m);
    // The delay of the event loop is measured from page to page, and is not there where there was no time to.
    const names = (text?: string) => text?.match(/^# TYPE (?!nodejs_eventloop_delay_).*$/gm);
    const [own, other] = page.split('\nthe page for another port:\n');
    expect(names(other)).toEqual(names(own));
  });

  it('says which variable is wrong', async () => {
    const listen = `
      const { createServer } = await import('node:http');
      const server = createServer().listen(29465, '127.0.0.1');
      await new Promise((resolve) => server.once('listening', resolve));
      process.env.OTEL_METRICS_EXPORTER = 'prometheus';
      await startTelemetry({ service: 'b', version: '1', instanceId: 'b' }).catch((error) => console.log(error.message));
      server.close();`;
    const taken = await inProcess(listen, { ...onPort(29_465), OTEL_METRICS_EXPORTER: 'none' });
    expect(taken).toContain('OTEL_EXPORTER_PROMETHEUS_PORT=29465 cannot be listened on: EADDRINUSE');
    const unknown = inProcess('', { OTEL_METRICS_EXPORTER: 'zipkin' });
    await expect(unknown).rejects.toThrow('OTEL_METRICS_EXPORTER=zipkin must be none, or list');
  });
});

describe('names', () => {
  it('are unique, and end in units where Prometheus sees them', () => {
    const names = Object.values(metricDefinitions).flatMap(prometheusNames);
    expect(new Set(names).size).toBe(names.length);
    expect(nameWithUnit('gen_ai_server_request_duration', 's', false)).toBe(
      'gen_ai_server_request_duration_seconds',
    );
    expect(nameWithUnit('nodejs_eventloop_utilization', '1', true)).toBe(
      'nodejs_eventloop_utilization_ratio',
    );
    expect(prometheusNames({ kind: 'counter', name: 'baton.snapshot.size', unit: 'By' })).toEqual([
      'baton_snapshot_size_bytes_total',
    ]);
    expect(prometheusNames({ kind: 'gauge', name: 'baton.state.memory', unit: 'By' })).toEqual([
      'baton_state_memory_bytes',
    ]);
  });
});
