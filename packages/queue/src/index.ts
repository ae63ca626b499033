export { type ConsumerOptions, GenerationConsumer, type GenerationHandler } from './generation-consumer.ts';
export { GenerationQueue, type Outlook, type QueueCounts } from './generation-queue.ts';
export { HandedOver } from './handed-over.ts';
export { LockLost } from './lock-lost.ts';
