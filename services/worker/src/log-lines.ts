import { BatonError, outcomeOf } from '@baton/errors';
import type { FormerOwner } from '@baton/log';
import type { GenerationJob, LogState } from '@baton/protocol';
import { HandedOver, LockLost } from '@baton/queue';
import type { Logger } from 'pino';
import { UnfitError } from './fit.ts';
import { dismissed, type Running } from './moves.ts';
import { causeOf } from './record.ts';
import type { Restored } from './states/session-states.ts';

/** What a worker logs of the generations that come to it and leave it. */
export class LogLines {
  readonly #logger: Logger;
  readonly #own: { readonly process: string; readonly fingerprint: string };
  /** Why generations were not run here, as far as it has been told. */
  readonly #unfit = new Set<string>();

  constructor(logger: Logger, own: { readonly process: string; readonly fingerprint: string }) {
    this.#logger = logger;
    this.#own = own;
  }

  /** Begun, or taken over: from whom and why, and where its state came from. */
  begun(
    { id: generation }: GenerationJob,
    { epoch, tokens }: LogState,
    { source, of, why, tokens: restored }: Restored,
    former: FormerOwner | null,
  ): void {
    const { fingerprint } = this.#own;
    if (former?.fingerprint !== undefined && former.fingerprint !== fingerprint) {
      this.#logger.warn(
        { generation, epoch, former: former.fingerprint, own: fingerprint },
        'goes on with another model of the same name: nobody runs the one that it was begun with',
      );
    }
    const from = former && { cause: causeOf(former, this.#own), former: former.worker };
    const event = { ...from, generation, epoch, logged: tokens.length, source, of, restored, why };
    this.#logger[epoch > 1 ? 'info' : 'debug'](event, epoch > 1 ? 'taken over' : 'begun');
  }

  /** Says why a generation was released, unless that is told with what became of its offer. */
  released({ job, obstacle }: Running, reason: unknown): void {
    if (reason instanceof HandedOver) return;
    const own = reason === dismissed ? dismissed : reason instanceof LockLost ? reason : null;
    const why = own?.message ?? `back to the queue: ${obstacle}`;
    this.#logger.info({ generation: job.id, reason: why }, 'released');
  }

  /** Says why a generation does not go on here, unless its end is told when it is given up. */
  failed(generation: string, error: unknown): void {
    if (error instanceof UnfitError) {
      const { message } = error;
      const level = this.#unfit.has(message) ? 'debug' : 'warn';
      this.#logger[level]({ generation, reason: message }, 'put back, for another worker');
      this.#unfit.add(message);
      return;
    }
    const code = error instanceof BatonError ? error.code : 'server_error';
    const { job } = outcomeOf(code);
    if (job === 'fail') return;
    const fate =
      job === 'drop'
        ? 'dropped: another worker has it, or nobody wants it any more'
        : 'put back, to be tried again';
    this.#logger.warn({ generation, code, err: error }, fate);
  }
}
