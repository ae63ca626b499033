export { confirmAtTerminal } from './confirm.ts';
export { type FindOptions, findServer, type ServerName, type ServerSource } from './find-server.ts';
export type { LocalServer, StartOptions } from './local-server.ts';
export { logTail, openLog } from './log-file.ts';
export { startNats } from './nats.ts';
export { startRedis } from './redis.ts';
