import { GenerationConsumer } from './generation-consumer.ts';

/** A consumer in a process of its own, for tests that kill it: says which job it took and never finishes it. */
const [url = ''] = process.argv.slice(2);
await GenerationConsumer.start(
  url,
  async (job) => {
    process.stdout.write(`${job.id}\n`);
    await new Promise(() => {});
  },
  { name: 'test-consumer', concurrency: 1, onGivenUp: async () => {} },
);
