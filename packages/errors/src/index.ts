export { BatonError } from './baton-error.ts';
export {
  AccessError,
  CheckpointError,
  ConfigurationError,
  ConflictError,
  DependencyError,
  EngineDiedError,
  FencedError,
  LogCorruptedError,
  MessageError,
  NotFoundError,
  OverloadedError,
  QueueTimeoutError,
  RequestError,
  type RequestErrorCode,
  ServerError,
  StoreFullError,
} from './errors.ts';
export { type ErrorCode, errorCodes, type JobOutcome, outcomeOf, outcomes } from './outcomes.ts';
export { withoutSecrets } from './without-secrets.ts';
