import type { MessagePort } from 'node:worker_threads';
import { type GenerateOptions, generateSequence } from '../generate-sequence.ts';
import type { FromThread, ToThread } from './messages.ts';
import { packError } from './thread-failure.ts';

/**
 * Runs the sequences that `port` asks for, one at a time, first in, first out, and sends back what they give. Ends with
 * the `close` message, after the step then running.
 */
export async function serve<State>(port: MessagePort, options: GenerateOptions<State>): Promise<void> {
  const send = (message: FromThread) => port.postMessage(message);
  const waiting: Extract<ToThread, { type: 'generate' }>[] = [];
  const aborts = new Map<number, AbortController>();
  let closed = false;
  let wake = () => {};

  port.on('message', (message: ToThread) => {
    switch (message.type) {
      case 'generate':
        waiting.push(message);
        aborts.set(message.run, new AbortController());
        break;
      case 'abort':
        aborts.get(message.run)?.abort();
        break;
      case 'close':
        closed = true;
        for (const abort of aborts.values()) abort.abort();
    }
    wake();
  });

  while (!closed) {
    const next = waiting.shift();
    if (!next) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
      continue;
    }
    const { run, request } = next;
    const signal = aborts.get(run)?.signal ?? AbortSignal.abort();
    try {
      for await (const output of generateSequence(request, options, signal))
        send({ type: 'output', run, output });
      send({ type: 'ended', run });
    } catch (error) {
      send({ type: 'failed', run, failure: packError(error) });
    }
    aborts.delete(run);
  }
  port.close();
}
