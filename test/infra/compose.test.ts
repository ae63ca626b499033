import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gatewayStopTimes, loadEnv, variables, workerStopTimes } from '@baton/environment';
import { DCLinter } from 'dclint';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { readStages, root } from './dockerfile.ts';

const file = join(root, 'docker-compose.yml');
const text = readFileSync(file, 'utf8');
const compose = parse(text, { merge: true }) as {
  services: Record<string, Service>;
  volumes: Record<string, unknown>;
};

interface Service {
  image?: string;
  build?: { context: string; dockerfile: string; target: string };
  environment?: Record<string, string>;
  volumes?: string[];
  ports?: string[];
  restart?: string;
  healthcheck?: unknown;
  stop_grace_period?: string;
  depends_on?: Record<string, { condition: string }>;
}
interface LintResult {
  messages: unknown[];
}
const services = Object.entries(compose.services);

describe('docker-compose.yml', () => {
  it('satisfies the Compose Specification and publishes on loopback alone', () => {
    const linter = new DCLinter({
      // All other rules are on; these would have services and keys in alphabetical order.
      rules: {
        'service-keys-order': 0,
        'services-alphabetical-order': 0,
        'top-level-properties-order': 0,
      },
      quiet: true,
      debug: false,
      exclude: [],
    });
    const results: LintResult[] = linter.lintFiles([file], false);
    expect(results.flatMap(({ messages }) => messages)).toEqual([]);
  });

  it('builds targets that the Dockerfile has', () => {
    const built = services.flatMap(([, { build }]) => (build ? [build] : []));
    expect(built.map(({ target }) => target).toSorted()).toEqual(['gateway', 'worker']);
    for (const { context, dockerfile, target } of built) {
      expect(existsSync(join(root, context, dockerfile)), dockerfile).toBe(true);
      expect([...readStages().keys()]).toContain(target);
    }
  });

  it('mounts folders and volumes that exist', () => {
    for (const [name, service] of services) {
      for (const mount of service.volumes ?? []) {
        const [source = ''] = mount.split(':');
        if (source.startsWith('.')) expect(existsSync(join(root, source)), `${name}: ${source}`).toBe(true);
        else expect(Object.keys(compose.volumes), name).toContain(source);
      }
    }
  });

  it('waits for servers that can say whether they are well', () => {
    for (const [name, service] of services) {
      for (const [other, { condition }] of Object.entries(service.depends_on ?? {})) {
        expect(compose.services, name).toHaveProperty(other);
        if (condition === 'service_healthy')
          expect(compose.services[other]?.healthcheck, other).toBeDefined();
      }
    }
  });

  it('sets and interpolates only variables that Baton knows', () => {
    const used = [...text.matchAll(/\bBATON_\w+/g)].map(([name]) => name);
    for (const name of used) expect(Object.keys(variables)).toContain(name);
  });

  it('gives Baton addresses of services of its own', () => {
    for (const name of ['gateway', 'worker']) {
      const environment = compose.services[name]?.environment ?? {};
      for (const key of ['BATON_REDIS_URL', 'BATON_NATS_URL', 'OTEL_EXPORTER_OTLP_ENDPOINT']) {
        // Where it is the user's to set: what it is otherwise. Where it depends on a profile: what it is with one.
        const unset = environment[key]?.replace(/^\$\{\w+:-(.*)\}$/, '$1');
        const url = new URL(unset?.replace(/^\$\{\w+:\+(.*)\}$/, '$1') ?? '');
        expect(compose.services, key).toHaveProperty(url.hostname);
      }
    }
  });

  it('brings everything back after a crash, and lets services stop in order', () => {
    const env = loadEnv({}, ['BATON_SHUTDOWN_TIMEOUT', 'BATON_DISCONNECT_GRACE', 'BATON_DRAIN_TIMEOUT']);
    const times = { gateway: gatewayStopTimes(env), worker: workerStopTimes(env) };
    for (const [name, service] of services) {
      expect(service.restart, name).toBe('unless-stopped');
      if (!service.build) continue;
      const { workMs, telemetryMs } = times[name as keyof typeof times];
      const graceMs = 1000 * Number.parseInt(service.stop_grace_period ?? '', 10);
      expect(graceMs, name).toBeGreaterThan(workMs + telemetryMs);
    }
  });
});
