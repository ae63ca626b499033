import { pipeline } from 'node:stream/promises';
import type { FastifyReply } from 'fastify';
import type { TenantGateway } from './gateway.ts';

/** One server-sent event; `event` names its type where the endpoint does. */
export function sseFrame(data: unknown, event?: string): string {
  return `${event === undefined ? '' : `event: ${event}\n`}data: ${JSON.stringify(data)}\n\n`;
}

/** Bytes of a frame that are sent in one piece, so that no more than some of these wait for a client that reads slowly. */
const pieceBytes = 16 * 1024;

/**
 * Streams `frames` as they come and ends the response after the last. A slow client slows the reading down; one that has taken
 * nothing for two keep-alives is let go. Where `frames` throws, or `signal` ends it before the last, the connection is
 * destroyed, so that no client takes the end of the stream for the end of the text.
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
  let insideFrame = false;
  async function* pieces(): AsyncGenerator<string | Buffer, void> {
    for await (const frame of frames) {
      if (frame.length <= pieceBytes) {
        yield frame;
        continue;
      }
      // As bytes, or a character could be cut in two.
      const bytes = Buffer.from(frame);
      insideFrame = true;
      for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes);
      insideFrame = false;
    }
  }
  const reader = new StreamReader();
  const keepAlive = setInterval(() => {
    const { socket, writableLength } = raw;
    const passed = socket === null ? 0 : socket.bytesWritten - socket.writableLength;
    if (reader.isStuck(passed, writableLength)) {
      reply.log.info({ waiting: writableLength }, 'let go of a client that does not read its stream');
      raw.destroy();
    } else if (writableLength === 0 && !raw.destroyed && !raw.writableEnded && !insideFrame) {
      raw.write(': keep-alive\n\n');
    }
  }, keepAliveMs);
  try {
    await pipeline(pieces, raw, { signal });
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    clearInterval(keepAlive);
  }
}

/** Whoever reads a stream, as it shows in what leaves this process. */
export class StreamReader {
  #passed = -1;
  #idleLooks = 0;

  /**
   * To be asked once in a while: whether nothing has left for two times now, though there was something to. `passed` bytes have
   * left in all, `waiting` have not.
   */
  isStuck(passed: number, waiting: number): boolean {
    const idle = waiting > 0 && passed <= this.#passed;
    this.#passed = passed;
    this.#idleLooks = idle ? this.#idleLooks + 1 : 0;
    return this.#idleLooks >= 2;
  }
}

function definedHeaders(reply: FastifyReply): Record<string, string | number | string[]> {
  const headers: Record<string, string | number | string[]> = {};
  for (const [name, value] of Object.entries(reply.getHeaders())) {
    if (value !== undefined) headers[name] = value;
  }
  return headers;
}

/**
 * Counts an event stream to come with its tenant's until the connection has done with it. Throws `OverloadedError` where there
 * are too many.
 */
export function takeStreamPlace({ streams, tenant }: TenantGateway, { raw }: FastifyReply): void {
  const giveBack = streams.take(tenant);
  if (raw.closed) giveBack();
  else raw.once('close', giveBack);
}

/** Aborted once the client has gone (or has its whole answer), or the gateway waits no longer. */
export function clientSignal(reply: FastifyReply, stopping: AbortSignal): AbortSignal {
  const gone = new AbortController();
  // It may have left while its request was looked at.
  if (reply.raw.closed) gone.abort();
  else reply.raw.once('close', () => gone.abort());
  return AbortSignal.any([gone.signal, stopping]);
}
