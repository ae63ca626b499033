import type { Msg } from '@nats-io/transport-node';

/** Headers by name; empty text for one that is not there. */
export interface EntryHeaders {
  get(name: string): string;
}

const versionLine = 'NATS/1.0\r\n';

/**
 * The headers of a message, each looked for when it is asked for. `Msg.headers` takes all of them apart, which is half of what
 * a live entry allocates; it is asked only where they do not lie in front of the data, as they come over the wire.
 */
export function headersOf(message: Msg): EntryHeaders {
  const { data, subject, reply } = message;
  const length = sizeOf(message) - subject.length - (reply?.length ?? 0) - data.length;
  const start = data.byteOffset - length;
  const text = length > 0 && start >= 0 ? Buffer.from(data.buffer, start, length).toString('latin1') : '';
  if (!text.startsWith(versionLine)) return { get: (name) => message.headers?.get(name) ?? '' };
  return { get: (name) => headerIn(text, name) };
}

function headerIn(text: string, name: string): string {
  const line = `\r\n${name}:`;
  const at = text.indexOf(line);
  return at < 0 ? '' : text.slice(at + line.length, text.indexOf('\r\n', at + line.length)).trim();
}

/** Bytes of subjects, headers and data, which the client's messages tell though `Msg` does not say so; 0 where one does not. */
function sizeOf(message: Msg): number {
  return 'size' in message && typeof message.size === 'function' ? Number(message.size()) : 0;
}
