import { outcomeOf, RequestError } from '@baton/errors';
import type { WebSocket } from '@fastify/websocket';
import { refuseTooDeep } from '../api/nesting.ts';
import { asBatonError, errorBody } from '../errors.ts';

/** Bytes that may wait in a socket's buffer before its log, or what the client sends, is read on. */
const highWaterMark = 64 * 1024;

/** Reads nothing more from a client that does not read what it is answered, until it does. */
export function holdBack(socket: WebSocket): void {
  if (socket.bufferedAmount < highWaterMark || socket.isPaused) return;
  socket.pause();
  // Sent when all before it has been.
  socket.ping(undefined, undefined, () => socket.resume());
}

/**
 * Sends one frame. Where the client reads slowly it gives a promise, to be waited for before the next frame: to wait for
 * every frame would cost more than to make it. A socket that is closing drops the frame.
 */
export function sendFrame(socket: WebSocket, frame: object, streamId?: string): Promise<void> | null {
  const text = JSON.stringify(streamId === undefined ? frame : { ...frame, stream_id: streamId });
  if (socket.bufferedAmount < highWaterMark) {
    socket.send(text);
    return null;
  }
  return new Promise((resolve) => socket.send(text, () => resolve()));
}

export function errorFrame(thrown: unknown): Record<string, unknown> {
  const error = asBatonError(thrown);
  return { type: 'error', status: outcomeOf(error.code).status, ...errorBody(error) };
}

/** A client's frame as an object. Throws `RequestError` for anything else. */
export function readFrame(data: Buffer, isBinary: boolean): Record<string, unknown> {
  let value: unknown;
  try {
    value = isBinary ? undefined : JSON.parse(data.toString());
  } catch {
    throw new RequestError('invalid_json', 'the frame is not JSON');
  }
  refuseTooDeep(value, 'the frame');
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new RequestError('invalid_type', 'the frame must be a JSON object, sent as text');
  }
  return { ...value };
}
