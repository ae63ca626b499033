import { DependencyError, MessageError } from '@baton/errors';
import {
  type CommandReply,
  commandReplySchema,
  commandSubject,
  parseMessage,
  type WorkerCommand,
  workerCommandSchema,
} from '@baton/protocol';
import type { Msg, NatsConnection } from '@nats-io/transport-node';

/** Does what a command says, or says why not. */
export type CommandHandler = (
  command: WorkerCommand,
) => Promise<Omit<CommandReply, 'v'>> | Omit<CommandReply, 'v'>;

const answerMs = 5000;

/** Lets others tell `worker` what to do, until the function that it gives is called. */
export function serveCommands(
  connection: NatsConnection,
  worker: string,
  handle: CommandHandler,
): () => void {
  const subject = commandSubject(worker);
  const subscription = connection.subscribe(subject, {
    callback: (error, message) => {
      if (!error) void answer(message);
    },
  });
  const answer = async (message: Msg) => {
    let reply: Omit<CommandReply, 'v'>;
    try {
      reply = await handle(parseMessage(workerCommandSchema, message.data, subject));
    } catch (failure) {
      const known = failure instanceof MessageError;
      reply = { done: false, reason: known ? failure.message : `the worker failed: ${String(failure)}` };
    }
    message.respond(JSON.stringify({ v: 1, ...reply } satisfies CommandReply));
  };
  return () => subscription.unsubscribe();
}

/** Throws `DependencyError` where the worker does not answer within `timeoutMs`. */
export async function commandWorker(
  connection: NatsConnection,
  worker: string,
  command: WorkerCommand,
  timeoutMs = answerMs,
): Promise<CommandReply> {
  const subject = commandSubject(worker);
  const answer = await connection
    .request(subject, JSON.stringify(command), { timeout: timeoutMs })
    .catch((cause: unknown) => {
      throw new DependencyError('worker', `worker ${worker} does not answer`, { cause });
    });
  return parseMessage(commandReplySchema, answer.data, subject);
}
