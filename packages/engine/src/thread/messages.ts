import type { EngineModel, EngineOutput, EngineRequest } from '../engine.ts';
import type { ThreadFailure } from './thread-failure.ts';

/** What the model's thread is started with. */
export interface ThreadOptions {
  /** Folder of a converted model. */
  readonly modelDir: string;
  /** Threads that one operator of the model may use. */
  readonly threads: number;
}

/** `run` numbers the calls of `generate`: one generation may come twice, when its job returns to the same worker. */
export type ToThread =
  | { readonly type: 'generate'; readonly run: number; readonly request: EngineRequest }
  | { readonly type: 'abort'; readonly run: number }
  | { readonly type: 'close' };

export type FromThread =
  | { readonly type: 'ready'; readonly model: EngineModel }
  | { readonly type: 'refused'; readonly failure: ThreadFailure }
  | { readonly type: 'output'; readonly run: number; readonly output: EngineOutput }
  | { readonly type: 'ended'; readonly run: number }
  | { readonly type: 'failed'; readonly run: number; readonly failure: ThreadFailure };
