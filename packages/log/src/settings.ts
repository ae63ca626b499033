/** How the token log is laid out and how patient it is. `defaultLogSettings` suits one machine. */
export interface TokenLogSettings {
  /** Streams that generations are spread over; every process must use the same number. */
  readonly shards: number;
  /** Copies of each stream that JetStream keeps. */
  readonly replicas: number;
  /** Entries older than this expire, and a generation with its first entry. */
  readonly maxAgeMs: number;
  /** How long an append or a read is tried again while NATS does not answer. */
  readonly deadlineMs: number;
  /** How long one request waits for its answer before it is sent again. */
  readonly requestTimeoutMs: number;
  /** A subscription without a live message for this long looks into the stream, in case one was lost. */
  readonly idleCheckMs: number;
  /** Live entries a subscription holds for a slow reader before it goes on from the stream instead. */
  readonly liveBufferBytes: number;
}

export const defaultLogSettings: TokenLogSettings = {
  shards: 1,
  replicas: 1,
  maxAgeMs: 24 * 3600 * 1000,
  deadlineMs: 30_000,
  requestTimeoutMs: 1000,
  idleCheckMs: 1000,
  liveBufferBytes: 256 * 1024,
};
