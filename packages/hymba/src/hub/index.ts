export type { PullEvent } from './pull-event.ts';
export { type PulledModel, type PullOptions, pullModel } from './pull-model.ts';
