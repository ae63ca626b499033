import { pipeline } from 'node:stream/promises';
import type { FastifyReply } from 'fastify';

/** One server-sent event; `event` names its type where the endpoint does. */
export function sseFrame(data: unknown, event?: string): string {
  return `${event === undefined ? '' : `event: ${event}\n`}data: ${JSON.stringify(data)}\n\n`;
}

/**
 * Streams `frames` as they come and ends the response after the last. A slow client slows the reading down. Where
 * `frames` throws, or `signal` ends it before the last, the connection is destroyed, so that no client takes the end of
 * the stream for the end of the text.
 */
export async function sendFrames(
  reply: FastifyReply,
  frames: AsyncIterable<string>,
  { keepAliveMs, signal }: { readonly keepAliveMs: number; readonly signal: AbortSignal },
): Promise<void> {
  reply.hijack();
  const { raw } = reply;
  raw.writeHead(200, {
    ...definedHeaders(reply),
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-cache, no-transform',
    connection: 'keep-alive',
    // Proxies of the nginx family hold a stream back otherwise.
    'x-accel-buffering': 'no',
  });
  raw.socket?.setNoDelay(true);
  const keepAlive = setInterval(() => {
    if (!raw.destroyed && !raw.writableEnded && !raw.writableNeedDrain) raw.write(': keep-alive\n\n');
  }, keepAliveMs);
  try {
    await pipeline(frames, raw, { signal });
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    clearInterval(keepAlive);
  }
}

function definedHeaders(reply: FastifyReply): Record<string, string | number | string[]> {
  const headers: Record<string, string | number | string[]> = {};
  for (const [name, value] of Object.entries(reply.getHeaders())) {
    if (value !== undefined) headers[name] = value;
  }
  return headers;
}

/** Aborted once the client has gone (or has its whole answer), or the gateway waits no longer. */
export function clientSignal(reply: FastifyReply, stopping: AbortSignal): AbortSignal {
  const gone = new AbortController();
  // It may have left while its request was looked at.
  if (reply.raw.closed) gone.abort();
  else reply.raw.once('close', () => gone.abort());
  return AbortSignal.any([gone.signal, stopping]);
}
