import type { JetStreamClient, JsMsg } from '@nats-io/jetstream';

/** Messages that the server sends at once, and how long it waits for one of them. */
const batchMessages = 256;
const waitMs = 1000;
/** Of the server, after which it forgets a consumer that its reader has left. */
const forgetMs = 10_000;

/**
 * The messages of one subject in a stream, from the one at `from` up to the one at `to`, in order, as an ordered consumer has
 * them. Ends early where some of them do not come.
 */
export async function* readRange(
  client: JetStreamClient,
  { stream, subject, from, to }: { stream: string; subject: string; from: number; to: number },
): AsyncGenerator<JsMsg, void> {
  const consumer = await client.consumers.get(stream, {
    filter_subjects: subject,
    opt_start_seq: from,
    inactive_threshold: forgetMs,
  });
  try {
    for (let read = -1, last = 0; read !== 0; ) {
      read = 0;
      const batch = await consumer.fetch({ max_messages: batchMessages, expires: waitMs });
      // Also where the server's word that there are no more is lost.
      const late = setTimeout(() => batch.stop(), 1.5 * waitMs);
      try {
        for await (const message of batch) {
          if (message.seq <= last || message.seq > to) return;
          yield message;
          if (message.seq === to) return;
          last = message.seq;
          read++;
          late.refresh();
        }
      } finally {
        clearTimeout(late);
      }
    }
  } finally {
    // The server forgets it by itself, too.
    void consumer.delete().catch(() => {});
  }
}
