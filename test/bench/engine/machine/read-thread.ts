import { parentPort, workerData } from 'node:worker_threads';
import { readKernel } from './read-kernel.ts';
import { webAssembly } from './web-assembly.ts';

/** Reads a memory of its own once for every message, and answers when it is done. */
if (!parentPort) throw new Error('read-thread.ts is to be started as a worker thread');
const port = parentPort;
const { bytes } = workerData as { readonly bytes: number };
const page = 65_536;
const memory = new webAssembly.Memory({ initial: Math.ceil(bytes / page) });
new Uint8Array(memory.buffer).fill(1);
const { instance } = await webAssembly.instantiate(readKernel(), { m: { m: memory } });
const sum = instance.exports['sum'] as (begin: number, end: number) => bigint;
/** By pieces: V8 exchanges its first, slow code for the optimised one only between calls. */
const piece = 1 << 22;
const readAll = (): void => {
  for (let at = 0; at < memory.buffer.byteLength; at += piece) sum(at, at + piece);
};
for (let i = 0; i < 3; i++) readAll();

port.on('message', () => {
  readAll();
  port.postMessage('read');
});
port.postMessage('ready');
