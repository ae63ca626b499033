export type { BatchOptions } from './batch/settings.ts';
export type { Device } from './device.ts';
export type {
  Engine,
  EngineCapacity,
  EngineModel,
  EngineOutput,
  EngineRequest,
  Standby,
  StateRequest,
  StepReport,
} from './engine.ts';
export type { KvRows } from './state/kv-pool.ts';
export {
  checkSessionState,
  type SessionState,
  type StateDelta,
  stateBytes,
  tokensOf,
  trimState,
} from './state/session-state.ts';
export { sharedFloats } from './state/shared-floats.ts';
export { type StateLayout, stateLayout } from './state/state-layout.ts';
export type { ThreadOptions } from './thread/messages.ts';
export { createEngine } from './threaded-engine.ts';
