import { followersSubject } from '@baton/protocol';
import { type NatsConnection, NoRespondersError, RequestError } from '@nats-io/transport-node';

const answerMs = 500;

/** Lets others find out that this process reads a generation's log, until the function that this gives is called. */
export function announceReader(connection: NatsConnection, generationId: string): () => void {
  const subscription = connection.subscribe(followersSubject(generationId), {
    callback: (error, message) => {
      if (!error) message.respond();
    },
  });
  return () => subscription.unsubscribe();
}

/** Whether anybody reads the log. A reader that does not answer in time is one, too. */
export async function hasReaders(connection: NatsConnection, generationId: string): Promise<boolean> {
  try {
    await connection.request(followersSubject(generationId), undefined, { timeout: answerMs });
    return true;
  } catch (error) {
    // The server says at once that nobody is subscribed.
    const nobody =
      error instanceof NoRespondersError || (error instanceof RequestError && error.isNoResponders());
    return !nobody;
  }
}
