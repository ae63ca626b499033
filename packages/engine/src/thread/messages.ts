import type { BatchOptions } from '../batch/settings.ts';
import type { Device } from '../device.ts';
import type { EngineCapacity, EngineModel, EngineRequest, StepReport } from '../engine.ts';
import type { TakeOver } from '../engine-runs.ts';
import type { StateLayout } from '../state/state-layout.ts';
import type { ThreadEvent } from './thread-event.ts';
import type { ThreadFailure } from './thread-failure.ts';

/** What the model's thread is started with. */
export interface ThreadOptions extends BatchOptions {
  /** Folder of a converted model. */
  readonly modelDir: string;
  /** Threads that one operator of the model may use. */
  readonly threads: number;
  /** What to run on; `auto` by default. See `findDevice`. */
  readonly device?: Device | 'auto';
}

/** `run` numbers the calls of `generate`: one generation may come twice, when its job returns to the same worker. */
export type ToThread =
  | { readonly type: 'generate'; readonly run: number; readonly request: EngineRequest }
  | { readonly type: 'abort' | 'drain'; readonly run: number }
  | {
      readonly type: 'follow';
      readonly run: number;
      readonly tokens: readonly number[];
      readonly takeOver: TakeOver | null;
    }
  | { readonly type: 'close' };

export type FromThread =
  | { readonly type: 'opening'; readonly stage: string }
  | {
      readonly type: 'ready';
      readonly model: EngineModel;
      readonly device: Device;
      readonly layout: StateLayout;
      readonly capacity: EngineCapacity;
    }
  | { readonly type: 'refused'; readonly failure: ThreadFailure }
  /** All that a step gave. */
  | { readonly type: 'events'; readonly events: readonly ThreadEvent[]; readonly report: StepReport | null };
