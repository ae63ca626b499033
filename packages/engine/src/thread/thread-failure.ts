import {
  type BatonError,
  CheckpointError,
  ConfigurationError,
  RequestError,
  ServerError,
} from '@baton/errors';

/** An error on its way between threads, where structured cloning would lose its class. */
export type ThreadFailure =
  | {
      readonly type: 'request';
      readonly code: RequestError['code'];
      readonly message: string;
      readonly param: string | null;
    }
  | {
      readonly type: 'checkpoint';
      readonly code: CheckpointError['code'];
      readonly message: string;
      readonly file: string;
      readonly field: string | null;
    }
  | { readonly type: 'configuration' | 'server'; readonly message: string };

export function packError(error: unknown): ThreadFailure {
  if (error instanceof RequestError) {
    return { type: 'request', code: error.code, message: error.message, param: error.param };
  }
  if (error instanceof CheckpointError) {
    const { code, message, file, field } = error;
    return { type: 'checkpoint', code, message, file, field };
  }
  if (error instanceof ConfigurationError) return { type: 'configuration', message: error.message };
  return { type: 'server', message: error instanceof Error ? error.message : String(error) };
}

export function unpackError(failure: ThreadFailure): BatonError {
  switch (failure.type) {
    case 'request':
      return new RequestError(failure.code, failure.message, failure.param);
    case 'checkpoint': {
      const { code, message, file, field } = failure;
      return new CheckpointError(code, message, { file, ...(field !== null && { field }) });
    }
    case 'configuration':
      return new ConfigurationError(failure.message);
    case 'server':
      return new ServerError(failure.message);
  }
}
