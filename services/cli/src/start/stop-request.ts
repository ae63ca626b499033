/** What asked a running command to end, and how urgently. */
export interface StopRequest {
  /** Aborted by the first signal, or when the parent process vanishes; the reason says which. */
  readonly requested: AbortSignal;
  /** Aborted by another signal later: waiting for running work is to be cut short. */
  readonly hurried: AbortSignal;
}

/** One Ctrl-C arrives several times, from the terminal and from each process above that passes it on. */
const sameSignalMs = 1000;

/** Listens for SIGINT, SIGTERM, SIGHUP and the parent's end for as long as this process runs. */
export function listenForStop(): StopRequest {
  const requested = new AbortController();
  const hurried = new AbortController();
  let firstAt = 0;
  const ask = (reason: string) => {
    if (!requested.signal.aborted) {
      firstAt = performance.now();
      requested.abort(reason);
    } else if (performance.now() - firstAt > sameSignalMs) hurried.abort(reason);
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => ask(signal));
  const parent = process.ppid;
  const watch = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(watch);
    ask('the process that started it has ended');
  }, 1000);
  watch.unref();
  return { requested: requested.signal, hurried: hurried.signal };
}

/** Settles like `work`, or rejects with the signal's reason as soon as it is aborted. */
export function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const abort = () => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
