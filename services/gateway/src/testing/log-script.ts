import {
  applyEntry,
  emptyLogState,
  type FinishReason,
  type GenerationJob,
  type LogEntry,
  type LogState,
  type TokenLogprob,
} from '@baton/protocol';
import { tinyStoriesCheckpoint } from '@baton/testing';

/** A small model's folder: its tokenizer and chat template serve as everybody's. */
export const modelDir = tinyStoriesCheckpoint();

/** Writes a log by hand: each method gives the next entry, numbered and with the owner's epoch. */
export class LogScript {
  readonly entries: LogEntry[] = [];
  readonly #job: GenerationJob;
  #epoch = 0;
  #next = 0;

  constructor(job: GenerationJob) {
    this.#job = job;
  }

  queued(): this {
    return this.#push({ v: 1, kind: 'queued', epoch: 0, sequence_number: 0, job: this.#job });
  }

  claimed(): this {
    this.#epoch++;
    this.entries.push({ v: 1, kind: 'claimed', epoch: this.#epoch, worker: `worker-${this.#epoch}` });
    return this;
  }

  cancelRequested(): this {
    this.entries.push({ v: 1, kind: 'cancel_requested' });
    return this;
  }

  prompt(from: number, logprobs: TokenLogprob[]): this {
    return this.#push({ v: 1, kind: 'prompt', ...this.#place(), from, logprobs });
  }

  tokens(tokens: number[], text: string, logprobs?: TokenLogprob[]): this {
    return this.#push({
      v: 1,
      kind: 'tokens',
      ...this.#place(),
      tokens,
      text,
      ...(logprobs && { logprobs }),
    });
  }

  finish(reason: FinishReason, completionTokens: number): this {
    const usage = {
      prompt_tokens: this.#job.prompt.length,
      cached_tokens: 0,
      completion_tokens: completionTokens,
    };
    return this.#push({ v: 1, kind: 'finish', ...this.#place(), reason, usage });
  }

  error(message: string): this {
    return this.#push({ v: 1, kind: 'error', ...this.#place(), code: 'server_error', message });
  }

  get state(): LogState {
    const state = emptyLogState(this.#job.id);
    for (const entry of this.entries) applyEntry(state, entry);
    return state;
  }

  #place() {
    return { epoch: this.#epoch, sequence_number: this.#next };
  }

  #push(entry: LogEntry): this {
    this.entries.push(entry);
    this.#next++;
    return this;
  }
}
