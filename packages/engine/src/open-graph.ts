import { CheckpointError } from '@baton/errors';
import { InferenceSession } from 'onnxruntime-node';

/** Opens a graph's file. Throws `CheckpointError`, naming it. */
export async function openGraph(
  file: string,
  options: InferenceSession.SessionOptions,
): Promise<InferenceSession> {
  try {
    return await InferenceSession.create(file, options);
  } catch (error) {
    throw new CheckpointError('invalid_checkpoint', `${file} cannot be opened: ${String(error)}`, { file });
  }
}
