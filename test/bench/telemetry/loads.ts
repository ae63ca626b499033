import { readFileSync } from 'node:fs';
import { TokenLog } from '@baton/log';
import type { System } from '../../support/system.ts';

const model = 'hymba-tiny-stories';
const streams = 4;
const tokens = 200;
const requests = 32;
const requestTokens = 8;
const atOnce = 8;

/** So many tokens or requests in so much time. */
export interface Done {
  readonly units: number;
  readonly seconds: number;
}

/** Four streams that one worker decodes together, with nobody but this log reader following: from the first token to the last. */
export async function decodeLoad(system: System): Promise<Done> {
  const log = await TokenLog.open(system.natsUrl);
  try {
    const ids = await Promise.all(
      Array.from({ length: streams }, (_, i) =>
        post(system, {
          input: `Tell me story ${i}.`,
          max_output_tokens: tokens,
          ignore_eos: true,
          background: true,
        }),
      ),
    );
    let [first, last] = [Number.POSITIVE_INFINITY, 0];
    await Promise.all(
      ids.map(async (id) => {
        const feed = await log.subscribe(id);
        for await (const entry of feed.entries()) {
          if (entry.kind !== 'tokens') continue;
          first = Math.min(first, performance.now());
          last = performance.now();
        }
      }),
    );
    return { units: streams * tokens, seconds: (last - first) / 1000 };
  } finally {
    await log.close();
  }
}

/** Short answers, as server-sent events, eight at a time. */
export async function gatewayLoad(system: System): Promise<Done> {
  const start = performance.now();
  let left = requests;
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      while (left-- > 0) {
        await post(system, {
          input: 'Tell me a story.',
          max_output_tokens: requestTokens,
          ignore_eos: true,
          stream: true,
        });
      }
    }),
  );
  return { units: requests, seconds: (performance.now() - start) / 1000 };
}

async function post(system: System, body: object): Promise<string> {
  const answer = await fetch(`${system.url}/v1/responses`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model, temperature: 0, ...body }),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${answer.status}: ${text}`);
  return /"id":"(resp_[0-9a-f]+)"/.exec(text)?.[1] ?? '';
}

/** Processor time of a process up to now in ms (utime and stime of proc(5), in ticks of 10 ms). */
export function processorMs({ pid }: { readonly pid?: number | undefined }): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return 10 * (Number(fields[11]) + Number(fields[12]));
}
