import {
  type BatonError,
  ConfigurationError,
  DependencyError,
  NotFoundError,
  OverloadedError,
} from '@baton/errors';

/** Whom a request was for: what an error message has to name. */
export interface HubRepository {
  /** Origin of the hub, without a trailing slash. */
  readonly endpoint: string;
  readonly repoId: string;
  readonly revision: string;
  readonly token: string | undefined;
}

/**
 * Turns a failed answer into the error whose message says what to do next. The hub names the cause in `x-error-code`;
 * to strangers it answers 401 both for private repositories and for those that do not exist.
 */
export function errorOfResponse(response: Response, repository: HubRepository): BatonError {
  const { endpoint, repoId, revision, token } = repository;
  const { status } = response;
  const cause = response.headers.get('x-error-code');
  const fromHub = !response.url || new URL(response.url).origin === new URL(endpoint).origin;
  if (status === 429) {
    return new OverloadedError(
      'rate_limit_exceeded',
      `${endpoint} limits how much you may download now: try again later${token ? '' : ', or set HF_TOKEN for a higher limit'}`,
      retryAfterMs(response),
    );
  }
  // A refusal by the storage behind the hub (a link that ran out, say) says nothing about the reader's rights.
  if (status >= 500 || !fromHub) {
    return new DependencyError(
      'hub',
      `${new URL(response.url || endpoint).host} answered ${status}: try again later`,
    );
  }
  if (cause === 'GatedRepo' || status === 403) {
    return new ConfigurationError(
      `${repoId} is gated: accept its terms at ${endpoint}/${repoId} and set HF_TOKEN to a token of that account`,
    );
  }
  if (status === 401) {
    return new ConfigurationError(
      token
        ? `${endpoint} refused HF_TOKEN for ${repoId}: check the name, and that the token is valid and may read it`
        : `${endpoint} has no public model ${repoId}: check the name, or set HF_TOKEN if it is private or gated`,
    );
  }
  if (cause === 'RevisionNotFound') {
    return new NotFoundError(
      'model_not_found',
      `${repoId} has no revision ${revision}: check the name of the branch, tag or commit`,
    );
  }
  if (status === 404) {
    return new NotFoundError('model_not_found', `${endpoint} has no model ${repoId}: check the name`);
  }
  return new DependencyError('hub', `${endpoint} answered ${status} for ${repoId}`);
}

/** A request that got no answer, or whose answer broke off. */
export function errorOfNetwork(error: unknown, url: string): DependencyError {
  const reason = error instanceof Error ? (error.cause instanceof Error ? error.cause : error) : null;
  const code = reason && 'code' in reason ? String(reason.code) : (reason?.message ?? String(error));
  return new DependencyError(
    'hub',
    `no connection to ${new URL(url).host} (${code}): check the network, or set HF_ENDPOINT to a mirror`,
    { cause: error },
  );
}

/** `retry-after` is seconds or a date (RFC 9110, 10.2.3); one second where it is missing. */
function retryAfterMs(response: Response): number {
  const value = response.headers.get('retry-after');
  if (value === null) return 1_000;
  const ms = /^\d+$/.test(value) ? Number(value) * 1_000 : Date.parse(value) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : 1_000;
}
