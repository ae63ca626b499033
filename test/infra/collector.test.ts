import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { root } from './dockerfile.ts';

type Components = Record<string, unknown>;
const config = parse(readFileSync(join(root, 'infra/collector/config.yaml'), 'utf8')) as {
  receivers: { otlp: { protocols: Record<string, { endpoint: string }> } };
  processors: Components;
  exporters: Components;
  extensions?: Components;
  service: { extensions?: string[]; pipelines: Record<string, Record<string, string[]>> };
};

describe('collector configuration', () => {
  it('uses in its pipelines what it defines, and defines nothing that no pipeline uses', () => {
    for (const kind of ['receivers', 'processors', 'exporters'] as const) {
      const used = Object.values(config.service.pipelines).flatMap((pipeline) => pipeline[kind] ?? []);
      expect([...new Set(used)].toSorted(), kind).toEqual(Object.keys(config[kind]).toSorted());
    }
    expect(config.service.extensions ?? []).toEqual(Object.keys(config.extensions ?? {}));
  });

  it('has a pipeline for what the services send, with a source and a sink', () => {
    expect(Object.keys(config.service.pipelines)).toEqual(['traces']);
    for (const pipeline of Object.values(config.service.pipelines)) {
      expect(pipeline['receivers']).not.toHaveLength(0);
      expect(pipeline['exporters']).not.toHaveLength(0);
    }
  });

  it('listens where the services send to', () => {
    const compose = readFileSync(join(root, 'docker-compose.yml'), 'utf8');
    const sentTo = /OTEL_EXPORTER_OTLP_ENDPOINT: (\S+)/.exec(compose)?.[1] ?? '';
    const port = new URL(sentTo).port;
    expect(config.receivers.otlp.protocols['http']?.endpoint).toBe(`0.0.0.0:${port}`);
  });
});
