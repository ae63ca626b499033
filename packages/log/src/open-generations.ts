import { logOpenStream, logOpenSubject, logOpenSubjects } from '@baton/protocol';
import {
  AckPolicy,
  type ConsumerMessages,
  JetStreamApiCodes,
  JetStreamApiError,
  type JetStreamClient,
  type JetStreamManager,
  type JsMsg,
  RetentionPolicy,
  StorageType,
} from '@nats-io/jetstream';
import type { TokenLogSettings } from './settings.ts';
import { whileUnavailable } from './unavailable.ts';

const consumerName = 'sweeper';

/** Whether a generation has ended and needs nobody to look after it any more. */
export type Look = (generationId: string) => Promise<boolean>;

/**
 * Generations that have not ended as far as anybody looked: a work queue with one message each, which comes back to one of
 * those who watch, again and again, until one of them finds that the generation has ended.
 */
export class OpenGenerations {
  readonly #client: JetStreamClient;
  readonly #manager: JetStreamManager;
  readonly #settings: TokenLogSettings;

  constructor(client: JetStreamClient, manager: JetStreamManager, settings: TokenLogSettings) {
    this.#client = client;
    this.#manager = manager;
    this.#settings = settings;
  }

  /** Makes the stream and its consumer where they are missing. */
  async ensure(): Promise<void> {
    const { replicas, maxAgeMs } = this.#settings;
    const max_age = maxAgeMs * 1_000_000;
    const settings = {
      subjects: [logOpenSubjects],
      max_age,
      num_replicas: replicas,
      duplicate_window: Math.min(max_age, 120_000_000_000),
    };
    const made = await this.#manager.streams.update(logOpenStream, settings).catch((error: unknown) => {
      if (error instanceof JetStreamApiError && error.code === JetStreamApiCodes.StreamNotFound) return null;
      throw error;
    });
    if (!made) {
      await this.#manager.streams.add({
        name: logOpenStream,
        storage: StorageType.File,
        retention: RetentionPolicy.Workqueue,
        ...settings,
      });
    }
    await this.#manager.consumers.add(logOpenStream, {
      durable_name: consumerName,
      ack_policy: AckPolicy.Explicit,
      // All that are open wait for their next turn at the same time.
      max_ack_pending: -1,
    });
  }

  async add(generationId: string): Promise<void> {
    const { requestTimeoutMs, ...settings } = this.#settings;
    await whileUnavailable(
      `remember that ${generationId} is open`,
      () => this.#client.publish(logOpenSubject(generationId), '', { timeout: requestTimeoutMs }),
      settings,
    );
  }

  /** Has `look` look at each open generation every `everyMs`, until the function that it gives is called. */
  async watch(look: Look, everyMs: number): Promise<() => Promise<void>> {
    const consumer = await this.#client.consumers.get(logOpenStream, consumerName);
    const messages = await consumer.consume();
    const sweeping = sweep(messages, look, everyMs);
    return async () => {
      messages.stop();
      await sweeping;
    };
  }
}

async function sweep(messages: ConsumerMessages, look: Look, everyMs: number): Promise<void> {
  for await (const message of messages) {
    const { subject } = message;
    const generationId = subject.slice(subject.lastIndexOf('.') + 1);
    if (2 * ageOf(message) >= everyMs && (await look(generationId))) {
      message.ack();
    } else {
      message.nak(everyMs);
    }
  }
}

function ageOf({ timestampNanos }: JsMsg): number {
  return Date.now() - Number(timestampNanos / 1_000_000n);
}
