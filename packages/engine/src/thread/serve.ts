import { setImmediate as nextTurn } from 'node:timers/promises';
import type { MessagePort } from 'node:worker_threads';
import type { BatchLoop } from '../batch/batch-loop.ts';
import type { FromThread, ToThread } from './messages.ts';
import { packEvent } from './thread-event.ts';

/** Runs what `port` asks for in `loop`, and sends back what each step gives. Ends with the `close` message, after the step then running. */
export async function serve<State>(port: MessagePort, loop: BatchLoop<State>): Promise<void> {
  let closed = false;
  let wake = () => {};

  port.on('message', (message: ToThread) => {
    switch (message.type) {
      case 'generate':
        loop.add(message.run, message.request);
        break;
      case 'abort':
        loop.abort(message.run);
        break;
      case 'drain':
        loop.drain(message.run);
        break;
      case 'follow':
        loop.follow(message.run, message.tokens, message.takeOver);
        break;
      case 'close':
        closed = true;
    }
    wake();
  });

  while (!closed) {
    if (loop.idle) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
      continue;
    }
    const events = (await loop.step()).map(packEvent);
    port.postMessage({ type: 'events', events, report: loop.report } satisfies FromThread);
    // A turn of the event loop, in which messages arrive.
    await nextTurn();
  }
  port.close();
}
