export { type ApiKey, ApiKeys, type NewKey, type Scope, scopes } from './api-keys.ts';
