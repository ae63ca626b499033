import { ConfigurationError } from '@baton/errors';
import type { Environment } from './load-env.ts';

/** Throws `ConfigurationError` for a gateway that anybody could reach and use. */
export function checkAccess(env: Environment<'BATON_AUTH' | 'BATON_HOST'>): void {
  if (env.BATON_AUTH === 'keys' || isLoopback(env.BATON_HOST)) return;
  throw new ConfigurationError(
    `BATON_HOST=${env.BATON_HOST} lets other machines in, so clients need keys: set BATON_AUTH=keys and make one with "baton keys create", or leave BATON_HOST on 127.0.0.1`,
  );
}

/** Whether only this machine reaches `host`, a name or an address. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}
