export { attributes } from './attributes.ts';
export { extractContext, injectContext } from './nats-context.ts';
export { type ServiceIdentity, startTelemetry, type Telemetry } from './start-telemetry.ts';
export { type SpanSettings, withSpan } from './with-span.ts';
