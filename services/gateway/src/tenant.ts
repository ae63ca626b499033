/** Whose requests these are. There are no API keys, so everybody is the same tenant. */
export const defaultTenant = 'default';
