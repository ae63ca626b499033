import { ratePerSecond } from '../report/statistics.ts';
import type { Effort, Job, Row } from './messages.ts';

type TransformersJob = Extract<Job, { kind: 'transformers' }>;

/** The parts of @huggingface/transformers 4 that are used here; it is installed on demand, so its own types are not there. */
interface TransformersModule {
  readonly env: { allowRemoteModels: boolean; localModelPath: string };
  readonly Tensor: new (type: 'int64', data: BigInt64Array, dims: readonly number[]) => object;
  readonly InterruptableStoppingCriteria: new () => { interrupt(): void };
  readonly AutoModelForCausalLM: {
    from_pretrained(
      path: string,
      options: Readonly<Record<string, unknown>>,
    ): Promise<{
      generate(options: Readonly<Record<string, unknown>>): Promise<unknown>;
      dispose(): Promise<unknown>;
    }>;
  };
}

/** When the prompt and the first token came, and tokens enough to measure. */
const leastTimes = 2 + 8;

/** Batches of @huggingface/transformers, through its public interface: all sequences of a batch begin and end together. */
export async function* transformers(job: TransformersJob, effort: Effort): AsyncGenerator<Row> {
  const { threads, milliseconds } = effort;
  const library: TransformersModule = await import(job.module);
  library.env.allowRemoteModels = false;
  const started = performance.now();
  const model = await library.AutoModelForCausalLM.from_pretrained(job.folder, {
    dtype: 'q4',
    device: 'cpu',
    local_files_only: true,
    session_options: { intraOpNumThreads: threads },
  });
  const loadSeconds = (performance.now() - started) / 1000;
  for (const batch of job.batches) {
    const ids = BigInt64Array.from({ length: batch * job.prompt }, (_, i) =>
      BigInt(300 + ((i * 31) % 31_000)),
    );
    const tensor = (data: BigInt64Array) => new library.Tensor('int64', data, [batch, job.prompt]);
    const stop = new library.InterruptableStoppingCriteria();
    const times: number[] = [];
    const streamer = {
      put() {
        times.push(performance.now());
        const [, first] = times;
        const isEnough = times.length >= leastTimes && performance.now() - (first ?? 0) > milliseconds;
        if (isEnough) stop.interrupt();
      },
      end() {},
    };
    await model.generate({
      inputs: tensor(ids),
      attention_mask: tensor(new BigInt64Array(ids.length).fill(1n)),
      max_new_tokens: 256,
      do_sample: false,
      streamer,
      stopping_criteria: stop,
    });
    const steps = times.slice(2).map((time, i) => time - (times[i + 1] ?? Number.NaN));
    const prefill = (times[1] ?? Number.NaN) - (times[0] ?? Number.NaN);
    yield {
      batch,
      'tokens/s': ratePerSecond(steps, batch),
      'prefill tokens/s': ratePerSecond([prefill], batch * job.prompt),
      'weights GB': job.weightBytes / 1e9,
      'load s': loadSeconds,
    };
  }
  await model.dispose();
}
