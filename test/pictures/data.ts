import { join } from 'node:path';
import type { Attributes } from '@baton/testing/otlp-receiver';

/** Where pictures and what they are drawn from lie. */
export const folder = join(import.meta.dirname, '../../docs/observability');

/** One generation's spans, as they were received. */
export interface TraceData {
  readonly command: string;
  readonly recorded: string;
  /** Milliseconds since the first span began. */
  readonly killedAt: number;
  readonly spans: readonly TracedSpan[];
}
export interface TracedSpan {
  readonly id: string;
  readonly parent: string | null;
  readonly name: string;
  /** The process: `gateway`, or the worker's name. */
  readonly process: string;
  readonly start: number;
  readonly end: number;
  readonly attributes: Attributes;
  readonly events: readonly { readonly name: string; readonly at: number }[];
  /** Ids of spans of the same trace. */
  readonly links: readonly string[];
}

/** Every panel's lines over one run. */
export interface PanelData {
  readonly command: string;
  readonly recorded: string;
  /** Seconds between two values. */
  readonly step: number;
  /** By dashboard and title of the panel. */
  readonly panels: Readonly<Record<string, Readonly<Record<string, readonly Line[]>>>>;
  /** What was done to the system: seconds since the beginning. */
  readonly disturbances: readonly { readonly at: number; readonly what: string }[];
}
export interface Line {
  readonly name: string;
  /** One for each step from the beginning; null where there is none. */
  readonly values: readonly (number | null)[];
}
