import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { metricDefinitions, prometheusNames } from '@baton/telemetry';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { dashboards, grafanaJson } from './dashboards.ts';
import { metricsOf } from './promql.ts';

const folder = join(import.meta.dirname, 'dashboards');
const ours = new Set<string>(Object.values(metricDefinitions).flatMap(prometheusNames));
/** Of https://www.npmjs.com/package/@opentelemetry/instrumentation-runtime-node. */
const runtime = new Set([
  'nodejs_eventloop_delay_p99_seconds',
  'nodejs_eventloop_utilization_ratio',
  'v8js_memory_heap_used_bytes',
]);
const unknown = (expression: string) =>
  [...metricsOf(expression)].filter((name) => !ours.has(name) && !runtime.has(name) && name !== 'ALERTS');

describe('dashboards', () => {
  it('are the files that the generator writes', () => {
    expect(readdirSync(folder).toSorted()).toEqual(dashboards.map(({ uid }) => `${uid}.json`).toSorted());
    for (const dashboard of dashboards) {
      const file = readFileSync(join(folder, `${dashboard.uid}.json`), 'utf8');
      expect(file, `${dashboard.uid}: run node infra/grafana/generate.ts`).toBe(grafanaJson(dashboard));
    }
  });

  it.each(dashboards.flatMap(({ title, panels }) => panels.map((panel) => ({ dashboard: title, ...panel }))))(
    '$dashboard: $title reads metrics that exist',
    ({ targets }) => {
      for (const { expr } of targets) {
        expect(metricsOf(expr).size).toBeGreaterThan(0);
        expect(unknown(expr)).toEqual([]);
      }
    },
  );

  it('leave out no metric of ours', () => {
    const shown = dashboards.flatMap(({ panels }) =>
      panels.flatMap(({ targets }) => targets.flatMap(({ expr }) => [...metricsOf(expr)])),
    );
    const forgotten = Object.values(metricDefinitions).filter(
      (definition) => !prometheusNames(definition).some((name) => shown.includes(name)),
    );
    expect(forgotten.map(({ name }) => name)).toEqual([]);
  });
});

describe('alert rules', () => {
  const rules = parse(readFileSync(join(import.meta.dirname, '../prometheus/rules.yml'), 'utf8')) as {
    groups: { rules: { alert: string; expr: string; annotations: Record<string, string> }[] }[];
  };
  const alerts = rules.groups.flatMap((group) => group.rules);

  it('cover what must not go unseen', () => {
    expect(alerts.map(({ alert }) => alert)).toEqual([
      'BatonNoWorker',
      'BatonQueueWait',
      'BatonQueueStands',
      'BatonFailovers',
      'BatonSnapshotFailures',
      'BatonLogAppendSlow',
      'BatonFencedAppends',
    ]);
  });

  it.each(alerts)('$alert reads metrics that exist, and says what to do', ({ expr, annotations }) => {
    expect(unknown(expr)).toEqual([]);
    expect(Object.keys(annotations)).toEqual(['summary', 'description', 'runbook']);
    expect(annotations['runbook']?.length).toBeGreaterThan(80);
  });
});
