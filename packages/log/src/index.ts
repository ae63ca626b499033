export type { FollowedLog } from './followed-log.ts';
export { LogSubscription } from './log-subscription.ts';
export { LogWriter } from './log-writer.ts';
export { connectNats } from './nats-connection.ts';
export { defaultLogSettings, type TokenLogSettings } from './settings.ts';
export { type FormerOwner, TokenLog } from './token-log.ts';
