import type { TokenLog } from '@baton/log';
import OpenAI from 'openai';

export interface Streamed {
  readonly id: string;
  readonly text: string;
  /** Milliseconds between one delta and the next, in order. */
  readonly gaps: readonly number[];
  /** For each gap, how much text had come when it ended. */
  readonly lengths: readonly number[];
  /** The longest gap after the disturbance. */
  readonly pause: number;
  readonly tokens: readonly number[];
  /** What the client read more than once, and what it never read. */
  readonly repeated: number;
  readonly missing: number;
}

/** Streams a response as a client would; `disturb` is called after `after` deltas, and the stream is read on meanwhile. */
export async function stream(
  url: string,
  log: TokenLog,
  body: object,
  { after, disturb }: { readonly after: number; readonly disturb: (id: string) => unknown },
): Promise<Streamed> {
  const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0, timeout: 120_000 });
  const events = await openai.responses.create({
    model: 'hymba-tiny-stories',
    temperature: 0,
    stream: true,
    ...body,
  } as OpenAI.Responses.ResponseCreateParamsStreaming);
  let [id, text, last] = ['', '', 0];
  const gaps: number[] = [];
  const lengths: number[] = [];
  const seen: number[] = [];
  for await (const event of events) {
    seen.push(event.sequence_number);
    if (event.type === 'response.created') id = event.response.id;
    if (event.type !== 'response.output_text.delta') continue;
    const now = performance.now();
    if (last > 0) gaps.push(now - last);
    last = now;
    text += event.delta;
    if (gaps.length > lengths.length) lengths.push(text.length);
    if (gaps.length === after) void disturb(id);
  }
  const state = await log.read(id);
  const distinct = new Set(seen);
  const pause = after < 0 ? 0 : Math.max(0, ...gaps.slice(after));
  const missing = Math.max(...seen) + 1 - distinct.size + (state?.text === text ? 0 : 1);
  return {
    id,
    text,
    gaps,
    lengths,
    pause,
    tokens: state?.tokens ?? [],
    repeated: seen.length - distinct.size,
    missing,
  };
}

/** The value below which `share` of the values lie. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}
