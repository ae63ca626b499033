export { type CommandHandler, commandWorker, serveCommands } from './commands.ts';
export { FleetWatch, type FleetWatchOptions, type SeenWorker } from './fleet-watch.ts';
export { Heartbeat } from './heartbeat.ts';
