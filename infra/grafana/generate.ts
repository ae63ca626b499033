/** `node infra/grafana/generate.ts` writes the dashboards as Grafana reads them. A test holds the files to it. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { dashboards, grafanaJson } from './dashboards.ts';

for (const dashboard of dashboards) {
  writeFileSync(join(import.meta.dirname, 'dashboards', `${dashboard.uid}.json`), grafanaJson(dashboard));
}
