import type { MsgHdrs } from '@nats-io/nats-core';
import { type Context, context, propagation } from '@opentelemetry/api';

/** Writes `traceparent` and `tracestate` of `from` into the headers of a NATS message; nothing where no span is active. */
export function injectContext(headers: MsgHdrs, from: Context = context.active()): void {
  propagation.inject(from, headers, { set: (carrier, key, value) => carrier.set(key, value) });
}

/** The context that a NATS message carries, on top of the active one; the active one where it carries none. */
export function extractContext(headers: MsgHdrs | undefined): Context {
  const active = context.active();
  if (headers === undefined) return active;
  return propagation.extract(active, headers, {
    get: (carrier, key) => (carrier.has(key) ? carrier.get(key) : undefined),
    keys: (carrier) => carrier.keys(),
  });
}
