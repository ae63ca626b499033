import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { attributes } from '@baton/telemetry';
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
    expect(Object.keys(config.service.pipelines)).toEqual(['traces', 'metrics']);
    for (const pipeline of Object.values(config.service.pipelines)) {
      expect(pipeline['receivers']).not.toHaveLength(0);
      expect(pipeline['exporters']).not.toHaveLength(0);
    }
  });

  it('listens where the services send to', () => {
    const compose = readFileSync(join(root, 'docker-compose.yml'), 'utf8');
    const sentTo = /OTEL_EXPORTER_OTLP_ENDPOINT: \S*(http:[^\s}]+)/.exec(compose)?.[1] ?? '';
    const port = new URL(sentTo).port;
    expect(config.receivers.otlp.protocols['http']?.endpoint).toBe(`0.0.0.0:${port}`);
  });

  it('is read by Prometheus where it tells its metrics, and hands traces to a service that is there', () => {
    const prometheus = readFileSync(join(root, 'infra/prometheus/prometheus.yml'), 'utf8');
    const exporters = config.exporters as Record<string, { endpoint: string }>;
    const port = exporters['prometheus']?.endpoint.split(':')[1];
    expect(prometheus).toContain(`collector:${port}`);
    const compose = readFileSync(join(root, 'docker-compose.yml'), 'utf8');
    const [store] = exporters['otlp_grpc/jaeger']?.endpoint.split(':') ?? [];
    expect(parse(compose, { merge: true }).services).toHaveProperty(String(store));
  });

  it('keeps failovers and errors, whatever else it drops', () => {
    const { policies } = config.processors['tail_sampling'] as {
      policies: { type: string; numeric_attribute?: { key: string; min_value: number } }[];
    };
    expect(policies.map(({ type }) => type)).toContain('status_code');
    const failovers = policies.find(({ type }) => type === 'numeric_attribute');
    expect(failovers?.numeric_attribute).toMatchObject({ key: attributes.epoch, min_value: 2 });
  });
});
