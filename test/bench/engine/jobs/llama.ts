import { summarize } from '../report/statistics.ts';
import type { Effort, Job, Row } from './messages.ts';
import { sample } from './sample.ts';
import { Streams } from './streams.ts';
import { windowOver } from './window.ts';

type LlamaJob = Extract<Job, { kind: 'llama' }>;

/** The parts of node-llama-cpp 3 that are used here; it is installed on demand, so its own types are not there. */
interface LlamaModule {
  getLlama(options: Readonly<Record<string, unknown>>): Promise<{
    loadModel(options: { modelPath: string }): Promise<{
      createContext(options: Readonly<Record<string, unknown>>): Promise<{
        getSequence(): LlamaSequence;
        dispose(): Promise<void>;
      }>;
    }>;
  }>;
}
interface LlamaSequence {
  evaluate(
    tokens: readonly number[],
    options: { temperature: number; yieldEogToken: boolean },
  ): AsyncIterable<number>;
  evaluateWithoutGeneratingNewTokens(tokens: readonly number[]): Promise<void>;
  clearHistory(): Promise<void>;
}

/** Streams and prefill of node-llama-cpp, through its public interface, as `serving` and `prefill` measure the engine. */
export async function* llama(job: LlamaJob, { threads, milliseconds }: Effort): AsyncGenerator<Row> {
  const { file, batches, prompt } = job;
  const { getLlama }: LlamaModule = await import(job.module);
  const runtime = await getLlama({
    gpu: false,
    build: 'never',
    skipDownload: true,
    logLevel: 'error',
    maxThreads: threads,
  });
  const started = performance.now();
  const model = await runtime.loadModel({ modelPath: file });
  const loadSeconds = (performance.now() - started) / 1000;
  const promptOf = (index: number) =>
    Array.from({ length: prompt }, (_, i) => 300 + ((i * 31 + index * 7) % 31_000));
  for (const batch of batches) {
    const contextSize = prompt + 512;
    const context = await model.createContext({ sequences: batch, contextSize, batchSize: 512, threads });
    const streams = new Streams();
    const sequences = Array.from({ length: batch }, () => context.getSequence());
    for (const [index, sequence] of sequences.entries()) {
      streams.add(sequence.evaluate(promptOf(index), { temperature: 0, yieldEogToken: true }));
    }
    await streams.more(3);
    const gaps = await streams.gapsUntil(windowOver(streams, milliseconds));
    await streams.stop();
    const [first] = sequences;
    let prefilled: number[] = [];
    if (first && batch === 1) {
      prefilled = await sample(
        async () => {
          await first.clearHistory();
          await first.evaluateWithoutGeneratingNewTokens(promptOf(0));
        },
        { warmup: 0, least: 2, most: 20, milliseconds },
      );
    }
    yield {
      batch,
      'tokens/s': summarize(gaps.map((gap) => (batch * 1000) / gap)),
      'prefill tokens/s':
        prefilled.length > 0 ? summarize(prefilled.map((ms) => (prompt * 1000) / ms)) : null,
      'weights GB': job.weightBytes / 1e9,
      'load s': loadSeconds,
    };
    await context.dispose();
  }
}
