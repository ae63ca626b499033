import { parentPort, workerData } from 'node:worker_threads';
import { Tokenizer } from '@baton/hymba/tokenizer';
import type { Asked } from './tokenisation.ts';

/** Asked by `Tokenisation`, whose tokenizer's files it is started with: answers each text with its tokens. */
const tokenizer = new Tokenizer(workerData);

parentPort?.on('message', ([text, options]: Asked) => {
  parentPort?.postMessage(tokenizer.encode(text, options));
});
