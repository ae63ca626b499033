import { ConfigurationError } from '@baton/errors';
import { describe, expect, it } from 'vitest';
import { askedFor } from './asked-for.ts';
import { inProcess } from './in-process.ts';
import { atLeastOne, otlpProtocol } from './otlp-settings.ts';

const endpoint = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4318' };

describe('askedFor', () => {
  it('takes the standard variables, and for unset what lists nothing', () => {
    expect(askedFor({})).toEqual({ traces: [], metrics: [] });
    expect(askedFor(endpoint)).toEqual({ traces: ['otlp'], metrics: ['otlp'] });
    expect(askedFor({ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://a' }).metrics).toEqual([]);
    const listed = {
      OTEL_TRACES_EXPORTER: ' otlp,console, otlp,',
      OTEL_METRICS_EXPORTER: 'console,prometheus',
    };
    expect(askedFor(listed)).toEqual({ traces: ['otlp', 'console'], metrics: ['console', 'prometheus'] });
    expect(askedFor({ ...endpoint, OTEL_TRACES_EXPORTER: 'none', OTEL_METRICS_EXPORTER: ' , ' })).toEqual({
      traces: [],
      metrics: ['otlp'],
    });
    expect(askedFor({ ...endpoint, OTEL_SDK_DISABLED: 'TRUE', OTEL_TRACES_EXPORTER: 'foo' })).toEqual({
      traces: [],
      metrics: [],
    });
  });

  it.each([
    ['OTEL_TRACES_EXPORTER', 'foo', 'none, or list some of otlp, console with'],
    ['OTEL_TRACES_EXPORTER', 'none,otlp', 'none, or list some of otlp, console with'],
    ['OTEL_TRACES_EXPORTER', 'prometheus', 'none, or list some of otlp, console with'],
    ['OTEL_METRICS_EXPORTER', 'foo', 'none, or list some of otlp, prometheus, console with'],
    ['OTEL_METRICS_EXPORTER', 'otlp,none', 'none, or list some of otlp, prometheus, console with'],
  ])('refuses %s=%s, and says what would be right', (name, value, right) => {
    const ask = () => askedFor({ ...endpoint, [name]: value });
    expect(ask).toThrow(ConfigurationError);
    expect(ask).toThrow(`${name}=${value} must be ${right}`);
  });
});

describe('the settings of exporters', () => {
  it.each([
    ['OTEL_METRIC_EXPORT_INTERVAL', '0', 'must be between 1 and'],
    ['OTEL_METRIC_EXPORT_INTERVAL', '2147483648', 'must be between 1 and'],
    ['OTEL_METRIC_EXPORT_INTERVAL', 'a minute', 'must be a whole number'],
  ])('cannot be %s=%s', (name, value, reason) => {
    const read = () => atLeastOne({ [name]: value }, name, 7);
    expect(read).toThrow(ConfigurationError);
    expect(read).toThrow(`${name}=${value} ${reason}`);
    expect(atLeastOne({ [name]: '' }, name, 7)).toBe(7);
  });

  it('have addresses that lead somewhere, and protocols that there are', () => {
    const of = (env: Record<string, string>) => () => otlpProtocol(env, 'TRACES');
    expect(of({})()).toBe('http/protobuf');
    expect(
      of({ OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json', OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'grpc' })(),
    ).toBe('grpc');
    expect(of({ OTEL_EXPORTER_OTLP_PROTOCOL: 'http' })).toThrow('OTEL_EXPORTER_OTLP_PROTOCOL=http must be');
    for (const address of ['127.0.0.1:4318', 'localhost:4318', 'collector']) {
      const url = { OTEL_EXPORTER_OTLP_ENDPOINT: address };
      expect(of(url)).toThrow(`OTEL_EXPORTER_OTLP_ENDPOINT=${address} must be a URL`);
      expect(of({ ...url, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'https://a/b' })()).toBe('http/protobuf');
      expect(of({ ...url, OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' })()).toBe('grpc');
    }
  });

  it('are told by name where a service starts with a wrong one', async () => {
    const refused = (env: Record<string, string>) => inProcess('', { ...endpoint, ...env });
    const interval = { OTEL_METRIC_EXPORT_INTERVAL: '0' };
    await expect(refused(interval)).rejects.toThrow(
      'ConfigurationError: OTEL_METRIC_EXPORT_INTERVAL=0 must be',
    );
    const protocol = { OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'udp' };
    await expect(refused(protocol)).rejects.toThrow('OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=udp must be');
  });
});

it('prints spans and metrics where the console is asked for', async () => {
  const printed = await inProcess(`await withSpan('printed', {}, () => count('rejections'));`, {
    OTEL_TRACES_EXPORTER: 'console',
    OTEL_METRICS_EXPORTER: 'console',
  });
  expect(printed).toContain("name: 'printed'");
  expect(printed).toContain("name: 'baton.rejections'");
});
