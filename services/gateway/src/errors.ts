import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import {
  BatonError,
  ConflictError,
  type ErrorCode,
  NotFoundError,
  OverloadedError,
  outcomeOf,
  RequestError,
  ServerError,
} from '@baton/errors';
import type { LogEntryOf } from '@baton/protocol';
import { failSpan, requestSpan } from '@baton/telemetry';
import { type Context, context } from '@opentelemetry/api';
import type { FastifyBaseLogger, FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { recordRejection } from './record.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** The context of the request's span; null where it has none. */
    within: Context | null;
  }
}

/** The generation ended in an error entry, which says why. */
export class GenerationError extends BatonError {
  readonly code: ErrorCode;
  readonly retryable: boolean;

  constructor(entry: LogEntryOf<'error'>) {
    super(entry.message);
    this.code = entry.code;
    this.retryable = outcomeOf(entry.code).status >= 500;
  }
}

export interface ErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: string;
  };
}

/** The body of the OpenAI API's errors. */
export function errorBody(error: BatonError): ErrorBody {
  const param =
    error instanceof RequestError || error instanceof NotFoundError || error instanceof ConflictError
      ? error.param
      : null;
  return { error: { message: error.message, type: outcomeOf(error.code).type, param, code: error.code } };
}

/** Anything thrown, as one of our errors. What nobody meant to throw tells the client nothing. */
export function asBatonError(error: unknown): BatonError {
  if (error instanceof BatonError) return error;
  if (error instanceof Error && 'code' in error) {
    switch ((error as FastifyError).code) {
      case 'FST_ERR_CTP_INVALID_JSON_BODY':
      case 'FST_ERR_CTP_EMPTY_JSON_BODY':
        return new RequestError('invalid_json', `the body is not JSON: ${error.message}`);
      case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
        return new RequestError('unsupported_media_type', 'the body must be sent as application/json');
      case 'FST_ERR_CTP_BODY_TOO_LARGE':
        return new RequestError('request_too_large', 'the body is larger than this server takes');
      case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      case 'FST_ERR_BAD_URL':
        return new RequestError('invalid_request', error.message);
    }
  }
  return new ServerError('internal error; the server has logged it under the request id', { cause: error });
}

/** Counts a request that is answered with `error`, and says why; what the client wrote is not in it, but for a field's name. */
export function noteRefusal(
  error: BatonError,
  { log, ip, within = null }: Pick<FastifyRequest, 'log' | 'ip'> & Partial<Pick<FastifyRequest, 'within'>>,
): void {
  recordRejection(error);
  const { code, param } = errorBody(error).error;
  // Its span may have ended; the line is of its trace all the same.
  context.with(within ?? context.active(), () => {
    if (outcomeOf(error.code).status >= 500) log.error({ err: error.cause ?? error, code }, error.message);
    else log.info({ ip, code, param }, 'refused a request');
  });
}

/** The same for the answer to a request that is under way, and so has its status already. */
export function noteFailedStream(
  error: BatonError,
  generations: readonly string[],
  log: FastifyBaseLogger,
): void {
  recordRejection(error);
  const span = requestSpan();
  if (span) failSpan(span, error);
  const { code } = error;
  if (outcomeOf(code).status >= 500)
    log.error({ err: error.cause ?? error, code, generations }, error.message);
  else log.info({ code, generations }, 'a stream ends in an error');
}

/** Every answer that is no success goes through here, and so has the same shape. */
export function installErrorHandling(app: FastifyInstance): void {
  app.decorateRequest('within', null);
  app.setErrorHandler((thrown, request, reply) => {
    const error = asBatonError(thrown);
    const { status } = outcomeOf(error.code);
    // A client that has left gets no answer, and nothing went wrong.
    if (status < 500 || !reply.raw.destroyed) noteRefusal(error, request);
    if (status === 401) reply.header('www-authenticate', 'Bearer');
    if (error instanceof OverloadedError) {
      reply.header('retry-after', Math.ceil(error.retryAfterMs / 1000));
      reply.header('retry-after-ms', error.retryAfterMs);
    }
    return reply.status(status).send(errorBody(error));
  });
  app.setNotFoundHandler((request: FastifyRequest, reply: FastifyReply) => {
    const path = request.url.split('?')[0] ?? '';
    const methods = (['GET', 'POST'] as const).filter((method) => app.findRoute({ method, url: path }));
    if (methods.length > 0) reply.header('allow', methods.join(', '));
    const hint = methods.length > 0 ? `; ${methods.join(' and ')} does` : '';
    throw new NotFoundError('route_not_found', `${request.method} ${path} does not exist here${hint}`);
  });
}

/** Answers what never became a request, on its bare connection, which ends with it. */
export function answerBrokenRequest(this: FastifyInstance, thrown: Error, socket: Socket): void {
  const { code } = thrown as NodeJS.ErrnoException;
  // Not into an answer that is under way.
  if (code !== 'ECONNRESET' && socket.writable && socket.bytesWritten === 0) {
    const error = brokenRequest(code, thrown.message);
    noteRefusal(error, { log: this.log, ip: socket.remoteAddress ?? '' });
    const { status } = outcomeOf(error.code);
    const body = JSON.stringify(errorBody(error));
    const head = [
      `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
      'content-type: application/json; charset=utf-8',
      `content-length: ${Buffer.byteLength(body)}`,
      'connection: close',
    ];
    socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
  }
  socket.destroySoon();
}

function brokenRequest(code: string | undefined, message: string): RequestError {
  switch (code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new RequestError('request_timeout', 'the request did not arrive in time');
    case 'HPE_HEADER_OVERFLOW':
      return new RequestError('headers_too_large', 'the headers are larger than this server takes');
    default:
      return new RequestError('invalid_request', `this is no HTTP request: ${message}`);
  }
}
