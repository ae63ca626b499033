import type { Cell } from '../report/table.ts';

/** A line of a report: what was measured, and the figures. Names become column heads. */
export type Row = Readonly<Record<string, Cell>>;

/** A converted model to measure, or a peer's. */
export interface Subject {
  /** What the report calls it. */
  readonly model: string;
  readonly weights: string;
  /** Folder of the converted model. */
  readonly folder: string;
}

/** How the engine chooses tokens. */
export type Choice = 'greedy' | 'top-p 0.9';

/** Something to measure in a process of its own. */
export type Job =
  | {
      readonly kind: 'decode';
      readonly subject: Subject;
      readonly batches: readonly number[];
      readonly contexts: readonly number[];
    }
  | {
      readonly kind: 'prefill';
      readonly subject: Subject;
      readonly lengths: readonly number[];
      readonly chunk: number;
    }
  | {
      readonly kind: 'serving';
      readonly subject: Subject;
      readonly choices: readonly Choice[];
      readonly batches: readonly number[];
      readonly prompt: number;
    }
  | {
      readonly kind: 'interference';
      readonly subject: Subject;
      readonly streams: number;
      readonly prompt: number;
    }
  | {
      readonly kind: 'llama';
      readonly module: string;
      readonly file: string;
      readonly weightBytes: number;
      readonly batches: readonly number[];
      readonly prompt: number;
    }
  | {
      readonly kind: 'transformers';
      readonly module: string;
      /** Folder of the model. */
      readonly folder: string;
      readonly weightBytes: number;
      readonly batches: readonly number[];
      readonly prompt: number;
    };

/** How much measuring a job does. */
export interface Effort {
  readonly threads: number;
  /** For each figure. */
  readonly milliseconds: number;
  /** What memory gives, as measured before. */
  readonly bytesPerSecond: number;
}

/** Hears what of a job is not measured, and why. */
export type Note = (note: string) => void;

export type FromJob =
  | { readonly type: 'row'; readonly row: Row }
  /** What of the job is not measured, and why. */
  | { readonly type: 'note'; readonly note: string }
  /** Peak resident memory of the whole process, in bytes. */
  | { readonly type: 'done'; readonly peakBytes: number }
  | { readonly type: 'failed'; readonly reason: string };
