import { BatonError } from './baton-error.ts';
import type { ErrorCode } from './outcomes.ts';

export type RequestErrorCode = Extract<
  ErrorCode,
  | 'invalid_request'
  | 'invalid_json'
  | 'invalid_type'
  | 'invalid_value'
  | 'missing_required_parameter'
  | 'unknown_parameter'
  | 'unsupported_parameter'
  | 'unsupported_value'
  | 'context_length_exceeded'
  | 'steering_not_supported'
  | 'request_too_large'
  | 'headers_too_large'
  | 'request_timeout'
  | 'unsupported_media_type'
>;

/** The client sent something that cannot be run. `param` is the path of the offending field. */
export class RequestError extends BatonError {
  readonly code: RequestErrorCode;
  readonly param: string | null;
  readonly retryable = false;

  constructor(code: RequestErrorCode, message: string, param: string | null = null) {
    super(message);
    this.code = code;
    this.param = param;
  }
}

/** A model, response or route that is not there, or not this tenant's: the two answer alike. */
export class NotFoundError extends BatonError {
  readonly code:
    | 'model_not_found'
    | 'response_not_found'
    | 'conversation_not_found'
    | 'item_not_found'
    | 'route_not_found'
    | 'worker_not_found';
  readonly param: string | null;
  readonly retryable = false;

  constructor(code: NotFoundError['code'], message: string, param: string | null = null) {
    super(message);
    this.code = code;
    this.param = param;
  }
}

/** Nobody that is known here, or somebody who may not do this. */
export class AccessError extends BatonError {
  readonly code: 'invalid_api_key' | 'missing_scope' | 'origin_not_allowed' | 'host_not_allowed';
  readonly retryable = false;

  constructor(code: AccessError['code'], message: string) {
    super(message);
    this.code = code;
  }
}

/** The request is fine, but not now, or not under this key. `param` names the field or header at odds. */
export class ConflictError extends BatonError {
  readonly code: 'conversation_locked' | 'idempotency_key_reused';
  readonly param: string;
  readonly retryable: boolean;

  constructor(code: ConflictError['code'], message: string, param: string) {
    super(message);
    this.code = code;
    this.param = param;
    this.retryable = code === 'conversation_locked';
  }
}

/** No room now. `retryAfterMs` is an honest estimate of when there will be. */
export class OverloadedError extends BatonError {
  readonly code: 'overloaded' | 'rate_limit_exceeded';
  readonly retryAfterMs: number;
  readonly retryable = true;

  constructor(code: OverloadedError['code'], message: string, retryAfterMs: number) {
    super(message);
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }
}

/** A generation that no worker had begun by the time its client would wait for. */
export class QueueTimeoutError extends BatonError {
  readonly code = 'queue_timeout';
  readonly retryable = true;

  constructor() {
    super('no worker was free for this in time; it was not begun, and may be tried again');
  }
}

/** Redis, NATS or another server that Baton needs does not answer. */
export class DependencyError extends BatonError {
  readonly code = 'dependency_unavailable';
  readonly dependency: string;
  readonly retryable = true;

  constructor(dependency: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.dependency = dependency;
  }
}

/** A store has no room for what it was given, also after the oldest has gone. */
export class StoreFullError extends BatonError {
  readonly code = 'store_full';
  readonly retryable = false;
}

/** A setting that cannot work: the message names the variable, its value and what would be right. */
export class ConfigurationError extends BatonError {
  readonly code = 'invalid_configuration';
  readonly retryable = false;
}

/** A checkpoint or converted model that is damaged, or that asks for something Baton does not do. */
export class CheckpointError extends BatonError {
  readonly code: 'invalid_checkpoint' | 'unsupported_checkpoint';
  /** The file it was found in. */
  readonly file: string;
  /** The configuration field or tensor, where one is to blame. */
  readonly field: string | null;
  readonly retryable = false;

  constructor(code: CheckpointError['code'], message: string, where: { file: string; field?: string }) {
    super(message);
    this.code = code;
    this.file = where.file;
    this.field = where.field ?? null;
  }
}

/** A payload between processes that does not parse. `where` is the subject, queue or key it came from. */
export class MessageError extends BatonError {
  readonly code = 'invalid_message';
  readonly where: string;
  readonly retryable = false;

  constructor(where: string, message: string) {
    super(`${where}: ${message}`);
    this.where = where;
  }
}

/** A token log that breaks its own invariants; nothing may be built on top of it. */
export class LogCorruptedError extends BatonError {
  readonly code = 'log_corrupted';
  readonly generationId: string;
  readonly retryable = false;

  constructor(generationId: string, message: string) {
    super(`log of ${generationId}: ${message}`);
    this.generationId = generationId;
  }
}

/** Another worker claimed the generation: this one must stop at once. */
export class FencedError extends BatonError {
  readonly code = 'fenced';
  readonly generationId: string;
  readonly epoch: number;
  readonly retryable = false;

  constructor(generationId: string, epoch: number) {
    super(`generation ${generationId} was claimed by another worker; epoch ${epoch} is fenced`);
    this.generationId = generationId;
    this.epoch = epoch;
  }
}

/** Something broke on our side; the client may try again. */
export class ServerError extends BatonError {
  readonly code = 'server_error';
  readonly retryable = true;
}

/** The model's thread is gone, and this worker with it: another one can go on with its generations. */
export class EngineDiedError extends BatonError {
  readonly code = 'engine_died';
  readonly retryable = true;
}
