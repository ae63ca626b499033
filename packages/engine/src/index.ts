export type { BatchOptions } from './batch/settings.ts';
export type { Device } from './device.ts';
export type { Engine, EngineCapacity, EngineModel, EngineOutput, EngineRequest } from './engine.ts';
export type { KvRows } from './state/kv-pool.ts';
export type { SequenceMemory, SessionStateData } from './state/session-state.ts';
export type { ThreadOptions } from './thread/messages.ts';
export { createEngine } from './threaded-engine.ts';
