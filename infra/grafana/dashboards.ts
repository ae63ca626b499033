import { fleet } from './fleet.ts';
import type { Dashboard, Panel } from './panel.ts';
import { serving } from './serving.ts';
import { sessions } from './sessions.ts';

export const dashboards: readonly Dashboard[] = [serving, sessions, fleet];

/** Panels beside each other, and their size in the units of Grafana's grid of 24 columns. */
const columns = 3;
const size = { w: 24 / columns, h: 8 };

/** A dashboard as Grafana reads it (schema 39). */
export function grafanaJson({ uid, title, panels }: Dashboard): string {
  const json = {
    uid,
    title,
    tags: ['baton'],
    schemaVersion: 39,
    version: 1,
    editable: false,
    graphTooltip: 1,
    refresh: '10s',
    time: { from: 'now-30m', to: 'now' },
    timezone: 'browser',
    panels: panels.map(grafanaPanel),
  };
  return `${JSON.stringify(json, null, 2)}\n`;
}

function grafanaPanel({ title, description, unit, targets, stacked = false }: Panel, index: number) {
  const datasource = { type: 'prometheus', uid: 'prometheus' };
  return {
    id: index + 1,
    type: 'timeseries',
    title,
    description,
    datasource,
    gridPos: { ...size, x: (index % columns) * size.w, y: Math.floor(index / columns) * size.h },
    fieldConfig: {
      defaults: {
        unit,
        min: 0,
        custom: {
          fillOpacity: stacked ? 40 : 10,
          lineWidth: 2,
          showPoints: 'never',
          stacking: { mode: stacked ? 'normal' : 'none', group: 'A' },
        },
      },
      overrides: [],
    },
    options: {
      legend: { displayMode: 'list', placement: 'bottom' },
      tooltip: { mode: 'multi', sort: 'desc' },
    },
    targets: targets.map(({ expr, legend }, at) => ({
      refId: String.fromCharCode(65 + at),
      datasource,
      expr,
      legendFormat: legend,
      range: true,
    })),
  };
}
