import { MessageError } from '@baton/errors';
import { z } from 'zod';

const utf8 = new TextDecoder();

/**
 * Parses JSON (string, bytes or already an object) against `schema`; refuses by name what does not fit. What services say to
 * each other has schemas that leave out fields they do not know, but for jobs: see "Messages between versions" in ARCHITECTURE.md.
 */
export function parseMessage<S extends z.ZodType>(schema: S, data: unknown, where: string): z.infer<S> {
  const result = schema.safeParse(parseJson(data, where));
  if (!result.success) throw new MessageError(where, z.prettifyError(result.error));
  return result.data;
}

/** What is no string and no bytes is given back as it is. */
export function parseJson(data: unknown, where: string): unknown {
  if (typeof data !== 'string' && !(data instanceof Uint8Array)) return data;
  const text = typeof data === 'string' ? data : utf8.decode(data);
  try {
    return JSON.parse(text);
  } catch {
    throw new MessageError(where, `is not JSON (${text.length} characters)`);
  }
}
