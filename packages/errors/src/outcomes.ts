/** What becomes of a queued generation whose handler threw this error. */
export type JobOutcome =
  /** Another attempt may succeed: hand the job back to the queue. */
  | 'retry'
  /** It can never succeed: append an error entry to the log, then complete the job. */
  | 'fail'
  /** Another worker owns the generation now, or nobody wants it any more: leave the log alone and forget the job. */
  | 'drop';

interface Outcome {
  readonly status: number;
  /** The `type` of an OpenAI error body. */
  readonly type: 'invalid_request_error' | 'rate_limit_error' | 'server_error';
  readonly job: JobOutcome;
}

const invalidRequest = { status: 400, type: 'invalid_request_error', job: 'fail' } as const;
const notFound = { status: 404, type: 'invalid_request_error', job: 'fail' } as const;
const unavailable = { status: 503, type: 'server_error', job: 'retry' } as const;
const internal = { status: 500, type: 'server_error', job: 'fail' } as const;

/** The one map from error code to HTTP status, OpenAI error type and job outcome. */
export const outcomes = {
  invalid_request: invalidRequest,
  invalid_json: invalidRequest,
  invalid_type: invalidRequest,
  invalid_value: invalidRequest,
  missing_required_parameter: invalidRequest,
  unknown_parameter: invalidRequest,
  unsupported_parameter: invalidRequest,
  unsupported_value: invalidRequest,
  context_length_exceeded: invalidRequest,
  steering_not_supported: invalidRequest,
  /** Clients try a 409 again by themselves, and a 422 not. */
  conversation_locked: { status: 409, type: 'invalid_request_error', job: 'fail' },
  idempotency_key_reused: { status: 422, type: 'invalid_request_error', job: 'fail' },
  request_too_large: { status: 413, type: 'invalid_request_error', job: 'fail' },
  headers_too_large: { status: 431, type: 'invalid_request_error', job: 'fail' },
  request_timeout: { status: 408, type: 'invalid_request_error', job: 'fail' },
  unsupported_media_type: { status: 415, type: 'invalid_request_error', job: 'fail' },
  model_not_found: notFound,
  /** A job whose log was deleted, or has expired. */
  response_not_found: { ...notFound, job: 'drop' },
  conversation_not_found: notFound,
  item_not_found: notFound,
  route_not_found: notFound,
  worker_not_found: notFound,
  invalid_api_key: { status: 401, type: 'invalid_request_error', job: 'fail' },
  missing_scope: { status: 403, type: 'invalid_request_error', job: 'fail' },
  origin_not_allowed: { status: 403, type: 'invalid_request_error', job: 'fail' },
  host_not_allowed: { status: 403, type: 'invalid_request_error', job: 'fail' },
  rate_limit_exceeded: { status: 429, type: 'rate_limit_error', job: 'retry' },
  overloaded: unavailable,
  queue_timeout: { status: 503, type: 'server_error', job: 'fail' },
  dependency_unavailable: unavailable,
  store_full: unavailable,
  server_error: internal,
  invalid_configuration: internal,
  invalid_checkpoint: internal,
  unsupported_checkpoint: internal,
  invalid_message: internal,
  log_corrupted: internal,
  engine_died: { status: 500, type: 'server_error', job: 'retry' },
  fenced: { status: 500, type: 'server_error', job: 'drop' },
} as const satisfies Record<string, Outcome>;

export type ErrorCode = keyof typeof outcomes;
export const errorCodes = Object.keys(outcomes) as ErrorCode[];

export function outcomeOf(code: ErrorCode): Outcome {
  return outcomes[code];
}
