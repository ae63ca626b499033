import { ConfigurationError } from '@baton/errors';

/** Gives errors of the file system that a person can mend a message that says how; passes on all others. */
export function explainDiskError(error: unknown, path: string): unknown {
  if (!(error instanceof Error) || !('code' in error)) return error;
  switch (error.code) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new ConfigurationError(`no space left for ${path}: free some, then run the same command again`);
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new ConfigurationError(
        `cannot write ${path} (${error.code}): choose a folder that you may write to`,
      );
    case 'ENOTDIR':
    case 'EEXIST':
      return new ConfigurationError(`${path} is not a folder: choose another destination`);
    default:
      return error;
  }
}
