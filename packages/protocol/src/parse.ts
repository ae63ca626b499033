import { MessageError } from '@baton/errors';
import { z } from 'zod';

/** Parses JSON (string, bytes or already an object) against `schema`; refuses by name what does not fit. */
export function parseMessage<S extends z.ZodType>(schema: S, data: unknown, where: string): z.infer<S> {
  let value = data;
  if (typeof data === 'string' || data instanceof Uint8Array) {
    const text = typeof data === 'string' ? data : new TextDecoder().decode(data);
    try {
      value = JSON.parse(text);
    } catch {
      throw new MessageError(where, `is not JSON (${text.length} characters)`);
    }
  }
  const result = schema.safeParse(value);
  if (!result.success) throw new MessageError(where, z.prettifyError(result.error));
  return result.data;
}
