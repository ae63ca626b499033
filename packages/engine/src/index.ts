export type { Engine, EngineModel, EngineOutput, EngineRequest } from './engine.ts';
export type { SessionStateData } from './session-state.ts';
export type { ThreadOptions } from './thread/messages.ts';
export { createEngine } from './threaded-engine.ts';
