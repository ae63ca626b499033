/** What the process with the clients is told. */
export interface ClientOrder {
  /** `ws://…` */
  readonly url: string;
  readonly natsUrl: string;
  readonly model: string;
  readonly sockets: number;
  /** How many of the sockets ask for a response. */
  readonly streams: number;
  /** Output tokens of each response. */
  readonly tokens: number;
  /** Over which the requests are spread. */
  readonly spreadMs: number;
  /** Whether to compare with the log's live feed. */
  readonly echo: boolean;
}

/** What it has seen. */
export interface ClientReport {
  opened: number;
  tokens: number;
  frames: number;
  /** From sending the request to the first token. */
  readonly ttftMs: number[];
  /** From the entry's coming over NATS to the frame's coming over the WebSocket, for each entry. */
  readonly addedMs: number[];
  seconds: number;
  /** Responses of which every token came. */
  whole: number;
}
