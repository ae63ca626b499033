import { setTimeout as sleep } from 'node:timers/promises';

const pauseMs = 100;
const reportEveryMs = 15_000;

/**
 * Asks the gateway's `/readyz` until it answers 200, and says now and then what it waits for. Throws the reason of
 * `signal` when that is aborted.
 */
export async function waitUntilReady(
  baseUrl: string,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<void> {
  let reportedAt = performance.now();
  for (;;) {
    signal.throwIfAborted();
    const answer = await ask(`${baseUrl}/readyz`, signal);
    if (answer === undefined) return;
    if (performance.now() - reportedAt > reportEveryMs) {
      reportedAt = performance.now();
      say(`still waiting for the gateway: ${answer}`);
    }
    await sleep(pauseMs, undefined, { signal }).catch(() => {});
  }
}

/** Gives `undefined` when ready, else what stands in the way. */
async function ask(url: string, signal: AbortSignal): Promise<string | undefined> {
  try {
    const response = await fetch(url, { signal: AbortSignal.any([signal, AbortSignal.timeout(2000)]) });
    return response.ok ? undefined : (await response.text()).trim();
  } catch {
    return 'it does not answer yet';
  }
}
