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

/** What has come so far. */
export interface Delivered {
  /** Streams that have their first token. */
  readonly begun: number;
  readonly tokens: number;
  readonly frames: number;
}

/** What it has seen. */
export interface ClientReport {
  /** From sending the request to the first token. */
  readonly ttftMs: number[];
  /** From the entry's coming over NATS to the frame's coming over the WebSocket, for each entry. */
  readonly addedMs: number[];
  /** Responses of which every token came. */
  whole: number;
}

/** What that process says: once all sockets are open, whenever it is asked (`count`), and when every stream has ended. */
export type ClientMessage =
  | { readonly opened: number }
  | { readonly delivered: Delivered }
  | { readonly report: ClientReport };
