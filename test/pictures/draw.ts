/** `npm run pictures -w test`: draws what `npm run pictures:record -w test` has recorded. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { dashboards } from '../../infra/grafana/dashboards.ts';
import { folder, type PanelData, type TraceData } from './data.ts';
import { drawDashboard } from './draw-dashboard.ts';
import { drawTrace } from './draw-trace.ts';

const panels = JSON.parse(readFileSync(join(folder, 'panels.json'), 'utf8')) as PanelData;
const trace = JSON.parse(readFileSync(join(folder, 'trace.json'), 'utf8')) as TraceData;
for (const dashboard of dashboards) {
  writeFileSync(join(folder, `${dashboard.uid}.svg`), drawDashboard(dashboard, panels));
}
writeFileSync(join(folder, 'trace.svg'), drawTrace(trace));
