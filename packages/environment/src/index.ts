export { checkAccess, isLoopback } from './check-access.ts';
export { checkOption, type Environment, loadEnv } from './load-env.ts';
export { gatewayStopTimes, inTime, tidyUpMs, workerStopTimes } from './stop-times.ts';
export { type VariableName, variables } from './variables.ts';
