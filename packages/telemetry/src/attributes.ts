/**
 * Every attribute that Baton sets on spans and metrics. The `gen_ai.*` and `messaging.*` names are OpenTelemetry's semantic conventions,
 * which are still in development: when they change, they change here.
 */
export const attributes = {
  operationName: 'gen_ai.operation.name',
  providerName: 'gen_ai.provider.name',
  requestModel: 'gen_ai.request.model',
  responseModel: 'gen_ai.response.model',
  responseId: 'gen_ai.response.id',
  finishReasons: 'gen_ai.response.finish_reasons',
  inputTokens: 'gen_ai.usage.input_tokens',
  outputTokens: 'gen_ai.usage.output_tokens',
  conversationId: 'gen_ai.conversation.id',
  /** What was asked and said, word for word: only where content is captured. */
  inputMessages: 'gen_ai.input.messages',
  outputMessages: 'gen_ai.output.messages',

  httpMethod: 'http.request.method',
  httpRoute: 'http.route',
  httpStatus: 'http.response.status_code',
  /** What an answer's `x-request-id` says. */
  requestId: 'baton.request.id',

  messagingSystem: 'messaging.system.name',
  messagingOperation: 'messaging.operation.type',
  messagingDestination: 'messaging.destination.name',
  messagingMessageId: 'messaging.message.id',

  /** How often the generation has been claimed, this owner included. */
  epoch: 'baton.epoch',
  /** The worker that runs the generation. */
  workerId: 'baton.worker.id',
  /** Prompt tokens whose state did not have to be computed again. */
  cachedTokens: 'baton.usage.cached_tokens',
  /** Tokens of earlier owners that were computed again, since no state was found that remembers them. */
  replayedTokens: 'baton.replayed_tokens',
  tenant: 'baton.tenant',

  /** Where a sequence's state came from (`warm`, `snapshot`, `none`), whose it was, and why not something else. */
  restoreSource: 'baton.restore.source',
  restoreOf: 'baton.restore.of',
  restoreReason: 'baton.restore.reason',
  restoredTokens: 'baton.restore.tokens',
  restoredBytes: 'baton.restore.bytes',
  restoreMilliseconds: 'baton.restore.milliseconds',

  /** A snapshot's bytes as float32, as encoded, and of the pages that the store did not have; and why it was not saved. */
  snapshotTokens: 'baton.snapshot.tokens',
  snapshotRawBytes: 'baton.snapshot.raw_bytes',
  snapshotStoredBytes: 'baton.snapshot.stored_bytes',
  snapshotNewBytes: 'baton.snapshot.new_bytes',

  /** Why something did not succeed: an error's code, or a reason of ours. */
  errorType: 'error.type',
  /**
   * What kind of a link: to the `first_attempt` of a generation, to the `first_request` for it, or to the `previous_turn` of a
   * conversation.
   */
  link: 'baton.link',

  /** Labels of metrics. */
  state: 'baton.state',
  phase: 'baton.phase',
  direction: 'baton.direction',
  outcome: 'baton.outcome',
  cause: 'baton.cause',
  kind: 'baton.kind',
  transport: 'baton.transport',
} as const;
