/**
 * `npm run pictures:record -w test`: runs a system for two minutes with a Prometheus and an OTLP receiver beside it, and writes
 * what they got to docs/observability, for `npm run pictures -w test` to draw.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { OtlpReceiver, type ReceivedSpan } from '@baton/testing/otlp-receiver';
import { dashboards } from '../../infra/grafana/dashboards.ts';
import type { Target } from '../../infra/grafana/panel.ts';
import { startSystem } from '../support/system.ts';
import { folder, type Line, type PanelData, type TraceData } from './data.ts';
import { Prometheus } from './prometheus.ts';
import { runWorkload } from './workload.ts';

const seconds = 120;
const step = 2;
const rateInterval = '10s';
const command = 'npm run pictures:record -w test';

const receiver = await OtlpReceiver.start();
const prometheus = await Prometheus.start();
const system = await startSystem({
  workers: 2,
  metrics: true,
  env: { ...receiver.env, OTEL_BSP_SCHEDULE_DELAY: '100', BATON_SNAPSHOT_TOKENS: '32', BATON_SLOTS: '4' },
});
const readPages = () =>
  prometheus.read([
    { address: system.gateway.metricsAddress, job: 'baton-gateway', instance: 'gateway' },
    ...system.workers.map(({ metricsAddress }, i) => ({
      address: metricsAddress,
      job: 'baton-worker',
      instance: `worker-${i + 1}`,
    })),
  ]);
await readPages();
const traceId = randomBytes(16).toString('hex');
const start = Math.floor(Date.now() / 1000);
const recorded = new Date().toISOString();
const { disturbances, killedAt } = await runWorkload(system, {
  seconds,
  traceparent: `00-${traceId}-${randomBytes(8).toString('hex')}-01`,
  onWorker: readPages,
});
const end = Math.floor(Date.now() / 1000);

const panels: Record<string, Record<string, Line[]>> = {};
for (const dashboard of dashboards) {
  const lines: Record<string, Line[]> = {};
  for (const { title, targets } of dashboard.panels) {
    lines[title] = (await Promise.all(targets.map(linesOf))).flat();
  }
  panels[dashboard.uid] = lines;
}
await receiver.waitFor((span) => span.traceId === traceId && span.name === 'deliver');
const spans = receiver.spans.filter((span) => span.traceId === traceId);
await system.stop();
await prometheus.stop();
await receiver.stop();

await mkdir(folder, { recursive: true });
await write('panels.json', {
  command,
  recorded,
  step,
  panels,
  disturbances: disturbances.map(({ at, what }) => ({ at: Math.round(at / 1000 - start), what })),
} satisfies PanelData);
await write('trace.json', traceData(spans));
process.exit();

async function linesOf({ expr, legend }: Target): Promise<Line[]> {
  const query = expr.replaceAll('$__rate_interval', rateInterval);
  const series = await prometheus.query(query, start, end, step);
  return series.map(({ metric, values }) => {
    const byTime = new Map(values);
    const length = Math.floor((end - start) / step) + 1;
    return {
      name: legend.replaceAll(/\{\{(\w+)\}\}/g, (_, label: string) => metric[label] ?? ''),
      values: Array.from({ length }, (_, i) => rounded(byTime.get(start + i * step))),
    };
  });
}

/** Four digits; null for what is missing or no number. */
function rounded(text: string | undefined): number | null {
  const value = Number(text ?? Number.NaN);
  return Number.isFinite(value) ? Number(value.toPrecision(4)) : null;
}

function traceData(all: readonly ReceivedSpan[]): TraceData {
  const first = Math.min(...all.map((span) => span.start));
  const at = (time: number) => Number((time - first).toFixed(2));
  return {
    command,
    recorded,
    killedAt: at(killedAt),
    spans: all
      .toSorted((a, b) => a.start - b.start)
      .map(({ spanId, parentSpanId, name, resource, attributes, events, links, ...span }) => ({
        id: spanId,
        parent: parentSpanId,
        name,
        process:
          resource['service.name'] === 'baton-gateway' ? 'gateway' : String(resource['service.instance.id']),
        start: at(span.start),
        end: at(span.end),
        attributes,
        events: events.map((event) => ({ name: event.name, at: at(event.time) })),
        links: links.filter((link) => link.traceId === traceId).map((link) => link.spanId),
      })),
  };
}

async function write(name: string, data: object): Promise<void> {
  await writeFile(join(folder, name), `${JSON.stringify(data)}\n`);
}
