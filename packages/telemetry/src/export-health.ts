import { format } from 'node:util';
import { context, type DiagLogger, ROOT_CONTEXT } from '@opentelemetry/api';
import { type ExportResult, ExportResultCode } from '@opentelemetry/core';
import type { Logger } from 'pino';

/** Where a service says what becomes of its telemetry. */
export type TelemetryLog = Pick<Logger, 'info' | 'warn'>;

interface Exporter<T> {
  export(items: T, done: (result: ExportResult) => void): void;
}

/**
 * Has `log` told when `exporter` begins to fail and when it works again, once each. The SDK hears of no failure, since it
 * would tell of each anew, and has nothing else to do about one.
 */
export function tellOfOutages<E extends Exporter<never>>(
  exporter: E,
  signal: 'traces' | 'metrics',
  log: TelemetryLog,
): E {
  const send: Exporter<never>['export'] = exporter.export.bind(exporter);
  let failing = false;
  exporter.export = (items, done) =>
    send(items, ({ code, error }) => {
      const failed = code !== ExportResultCode.SUCCESS;
      // Not in the trace of whatever happened to be sent.
      context.with(ROOT_CONTEXT, () => {
        if (failed && !failing)
          log.warn({ err: error }, `${signal} cannot be sent; they are lost until they can`);
        if (!failed && failing) log.info(`${signal} are sent again`);
      });
      failing = failed;
      done({ code: ExportResultCode.SUCCESS });
    });
  return exporter;
}

/** How many kinds of things the SDK may say, of which each is told once. */
const mostKinds = 100;

/** Has `log` told what the SDK warns of, each kind of thing once: much of it would come with each span or export. */
export function sdkWarnings(log: TelemetryLog): DiagLogger {
  const told = new Set<string>();
  const tell = (...said: unknown[]) => {
    const message = format(...said.map((part) => (part instanceof Error ? part.message : part)));
    const kind = message.replaceAll(/[0-9a-f]{8,}|\d+/g, '#');
    if (told.has(kind) || told.size >= mostKinds) return;
    told.add(kind);
    log.warn(`OpenTelemetry: ${message}`);
  };
  const ignore = () => {};
  return { error: tell, warn: tell, info: ignore, debug: ignore, verbose: ignore };
}
