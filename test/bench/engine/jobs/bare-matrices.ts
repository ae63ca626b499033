import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sessionOptions } from '@baton/engine/session-options';
import { linearsGraph, linearsNames, openModel } from '@baton/hymba';
import { InferenceSession, Tensor } from 'onnxruntime-node';

/** A model's matrix products alone, in the weights that it has. */
export class BareMatrices {
  /** What one pass reads of the weights. */
  readonly weightBytes: number;
  readonly #session: InferenceSession;
  readonly #hiddenSize: number;

  /** Writes the graph beside the model's weights file, where ONNX Runtime looks for them. */
  static async open(folder: string, threads: number): Promise<BareMatrices> {
    const model = await openModel(folder);
    const { graph, weightBytes } = linearsGraph(model);
    const file = join(folder, 'bench-linears.onnx');
    await writeFile(file, graph);
    // As the engine has it, so that the same kernels run.
    const session = await InferenceSession.create(
      file,
      sessionOptions({ weightForm: model.weightForm, threads }),
    );
    return new BareMatrices(session, model.config.hiddenSize, weightBytes);
  }

  private constructor(session: InferenceSession, hiddenSize: number, weightBytes: number) {
    this.#session = session;
    this.#hiddenSize = hiddenSize;
    this.weightBytes = weightBytes;
  }

  /** One pass over `tokens` tokens of each of `batch` sequences, with logits for each one's last token. */
  async run(batch: number, tokens: number): Promise<void> {
    const hidden = new Float32Array(batch * tokens * this.#hiddenSize).fill(0.1);
    const rows = BigInt64Array.from({ length: batch }, (_, index) => BigInt((index + 1) * tokens - 1));
    await this.#session.run({
      [linearsNames.hidden]: new Tensor('float32', hidden, [batch, tokens, this.#hiddenSize]),
      [linearsNames.rows]: new Tensor('int64', rows, [batch]),
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#session.release();
  }
}
