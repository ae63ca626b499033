import { setTimeout as delay } from 'node:timers/promises';
import type { GenerationJob } from '@baton/protocol';
import type { Gateway } from '../gateway.ts';
import { requestCancel } from './cancel.ts';
import type { Generation } from './submit.ts';

/**
 * Stops following. What nobody could read again is cancelled: at once, or where `gone` says that the client has left, after
 * the grace period unless somebody follows it by then, from whichever gateway. Stored responses run on.
 */
export function leave(gateway: Gateway, generations: readonly Generation[], gone: AbortSignal): void {
  for (const { feed } of generations) feed.close();
  void gateway.tasks.run(() => refund(gateway, generations));
  const unread = generations.filter(({ job, feed }) => !job.continuable && feed.state.terminal === null);
  if (unread.length === 0) return;
  const graceMs = gone.aborted ? gateway.settings.disconnectGraceMs : 0;
  void gateway.tasks.run(async () => {
    await delay(graceMs);
    await Promise.all(unread.map(({ job }) => cancelUnread(gateway, job)));
  });
}

/** Gives back what one request's generations did not need of what they counted with; those that run on may need it. */
async function refund({ rateLimits, logger }: Gateway, generations: readonly Generation[]): Promise<void> {
  const [first] = generations;
  if (!rateLimits || !first?.reservation) return;
  const used = generations.map(({ job, feed }) => {
    const { terminal } = feed.state;
    if (terminal?.kind === 'finish') return terminal.usage.prompt_tokens + terminal.usage.completion_tokens;
    return job.prompt.length + (terminal ? feed.state.tokens.length : job.sampling.max_tokens);
  });
  const total = used.reduce((sum, tokens) => sum + tokens, 0);
  await rateLimits.refund(first.job.tenant, first.reservation, total).catch((error: unknown) => {
    logger.warn({ err: error }, 'tokens that were not used count until the minute is over');
  });
}

async function cancelUnread(gateway: Gateway, job: GenerationJob): Promise<void> {
  try {
    if (!(await gateway.log.hasReaders(job.id))) await requestCancel(gateway, job);
  } catch (error) {
    gateway.logger.warn({ err: error, generation: job.id }, 'cannot cancel a generation that nobody follows');
  }
}
