export {
  type CommandReply,
  commandReplySchema,
  type WorkerCommand,
  type WorkerStatus,
  workerCommandSchema,
  workerStates,
  workerStatusSchema,
} from './fleet.ts';
export { choiceGenerationId, generationId, type IdPrefix, newId, tenantName } from './ids.ts';
export { type Endpoint, endpointSchema, type GenerationJob, generationJobSchema } from './job.ts';
export {
  type FinishReason,
  finishReasonSchema,
  isTerminal,
  type LogEntry,
  type LogEntryOf,
  logEntrySchema,
  readLogEntry,
  type TerminalEntry,
  type TokenLogprob,
  tokenLogprobSchema,
  type Usage,
  usageSchema,
  type WorkerEntry,
} from './log-entry.ts';
export { applyEntry, crashesOf, emptyLogState, type LogState } from './log-state.ts';
export {
  allLiveSubjects,
  apiKeysKey,
  commandSubject,
  conversationKey,
  fairOrderKey,
  followersSubject,
  heartbeatSubject,
  idempotencyKey,
  liveStreamSubjects,
  liveSubject,
  logOpenStream,
  logOpenSubject,
  logOpenSubjects,
  logStream,
  logStreamSubjects,
  logSubject,
  queueName,
  rateLimitPrefix,
  redisPrefix,
  serviceTimesKey,
  shardOf,
  snapshotKeys,
  snapshotTenants,
  tenantGenerationsKey,
} from './names.ts';
export { parseMessage } from './parse.ts';
export {
  type GrammarSource,
  grammarSourceSchema,
  type JsonGrammar,
  type Sampling,
  samplingSchema,
  type ToolCallsGrammar,
} from './sampling.ts';
