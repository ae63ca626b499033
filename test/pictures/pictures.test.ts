import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { dashboards } from '../../infra/grafana/dashboards.ts';
import { folder, type PanelData, type TraceData } from './data.ts';
import { drawDashboard } from './draw-dashboard.ts';
import { drawTrace } from './draw-trace.ts';

const read = (name: string) => readFileSync(join(folder, name), 'utf8');
const panels = JSON.parse(read('panels.json')) as PanelData;
const trace = JSON.parse(read('trace.json')) as TraceData;

describe('the pictures in the documentation', () => {
  it('are drawn from the recorded data', () => {
    for (const dashboard of dashboards) {
      expect(drawDashboard(dashboard, panels), dashboard.uid).toBe(read(`${dashboard.uid}.svg`));
    }
    expect(drawTrace(trace)).toBe(read('trace.svg'));
  });

  it('show every panel of the dashboards as they are now, few of them without a line', () => {
    for (const { uid, panels: wanted } of dashboards) {
      expect(Object.keys(panels.panels[uid] ?? {})).toEqual(wanted.map(({ title }) => title));
    }
    const empty = Object.values(panels.panels).flatMap((lines) =>
      Object.entries(lines).flatMap(([title, all]) => (all.length === 0 ? [title] : [])),
    );
    expect(empty.length).toBeLessThan(4);
  });

  it('show what was done to the workers', () => {
    const takeovers = panels.panels['baton-sessions']?.['Takeovers'] ?? [];
    const moved = takeovers.filter(({ values }) => values.some((value) => value !== null && value > 0));
    expect(moved.map(({ name }) => name).toSorted()).toEqual(['failover', 'migration']);
  });

  it('show a failover in one trace', () => {
    const owners = trace.spans.filter(({ name }) => name === 'claim').map(({ process }) => process);
    expect(new Set(owners).size).toBe(2);
    expect(trace.spans.some(({ links }) => links.length > 0)).toBe(true);
  });

  it('are linked from the documentation', () => {
    const text = readFileSync(join(folder, '../../OBSERVABILITY.md'), 'utf8');
    const linked = [...text.matchAll(/!\[[^\]]+\]\(([^)]+)\)/g)].map(([, path]) => String(path));
    expect(linked.toSorted()).toEqual(
      ['trace', ...dashboards.map(({ uid }) => uid)]
        .map((name) => `docs/observability/${name}.svg`)
        .toSorted(),
    );
    for (const path of linked) expect(existsSync(join(folder, '../..', path)), path).toBe(true);
  });
});
