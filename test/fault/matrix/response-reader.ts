import { setTimeout as sleep } from 'node:timers/promises';
import OpenAI from 'openai';

type ResponseEvent = OpenAI.Responses.ResponseStreamEvent;

const again = 100;

/** A client that reads one response to its end and reconnects, each time through the next gateway, as often as it has to. */
export class ResponseReader {
  /** What all connections gave, in the order in which it came. */
  readonly events: ResponseEvent[];
  /** Resolves with the last event. */
  readonly ended: Promise<void>;
  readonly #gateways: readonly string[];
  readonly #started = Promise.withResolvers<string>();
  #gateway: number;
  #connection = new AbortController();

  /** Asks the first of `gateways` for a response, or where `known` names one goes on reading that, after `events`. */
  constructor(
    gateways: readonly string[],
    asks: { readonly request: object } | { readonly known: string },
    { gateway = 0, events = [] }: { gateway?: number; events?: readonly ResponseEvent[] } = {},
  ) {
    this.#gateways = gateways;
    this.#gateway = gateway;
    this.events = [...events];
    if ('known' in asks) this.#started.resolve(asks.known);
    this.ended = this.#read('known' in asks ? asks.known : null, 'request' in asks ? asks.request : {});
    this.ended.catch((error: unknown) => this.#started.reject(error));
  }

  /** Resolves with the response's id. */
  get started(): Promise<string> {
    return this.#started.promise;
  }

  /** Loses its connection. */
  drop(): void {
    this.#connection.abort();
  }

  /** Another client that knows what this one does, and goes on from there through the gateway that this one has. */
  async fork(): Promise<ResponseReader> {
    const { events } = this;
    return new ResponseReader(
      this.#gateways,
      { known: await this.started },
      { gateway: this.#gateway, events },
    );
  }

  async #read(known: string | null, request: object): Promise<void> {
    let id = known;
    while (!this.#isComplete) {
      this.#connection = new AbortController();
      try {
        for await (const event of await this.#connect(id, request)) {
          this.events.push(event);
          if (event.type !== 'response.created') continue;
          id = event.response.id;
          this.#started.resolve(id);
        }
      } catch (error) {
        // Only a response that there is can be read on.
        if (id === null) throw error;
      }
      if (this.#isComplete) return;
      this.#gateway = (this.#gateway + 1) % this.#gateways.length;
      await sleep(again);
    }
  }

  #connect(id: string | null, request: object): Promise<AsyncIterable<ResponseEvent>> {
    const { signal } = this.#connection;
    const baseURL = `${this.#gateways[this.#gateway]}/v1`;
    const { responses } = new OpenAI({ baseURL, apiKey: 'none-needed', maxRetries: 0, timeout: 60_000 });
    if (id === null) {
      const body = { model: 'hymba-tiny-stories', ...request, stream: true };
      return responses.create(body as OpenAI.Responses.ResponseCreateParamsStreaming, { signal });
    }
    const after = this.events.at(-1)?.sequence_number;
    const from = after === undefined ? {} : { starting_after: after };
    return responses.retrieve(id, { stream: true, ...from }, { signal });
  }

  get #isComplete(): boolean {
    const last = this.events.at(-1)?.type;
    return last === 'response.completed' || last === 'response.incomplete' || last === 'response.failed';
  }
}
