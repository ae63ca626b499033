/** A fleet of scripted workers in one process: the queue, the token log and the engine's loop are real, the model is none. */
import { byteVocabulary, ScriptedEngine } from '@baton/engine/testing';
import { TokenLog } from '@baton/log';
import type { GenerationJob } from '@baton/protocol';
import { GenerationConsumer } from '@baton/queue';

const [redisUrl = '', natsUrl = '', streams = '1', stepMs = '50', together = '1'] = process.argv.slice(2);
/** Longer than any response. One ASCII character a token, so that a delta's length is its number of tokens. */
const story = 'the quick brown fox jumps '.repeat(100);
/** As many as a worker has by default. */
const slots = 8;

const engines = Array.from({ length: Math.ceil(Number(streams) / slots) }, () => ({
  engine: new ScriptedEngine({ stepMs: Number(stepMs), slots, script: () => story }),
  running: 0,
}));
const fresh = { replay: [], replayTextLength: 0, promptLogprobsFrom: 0 };
const log = await TokenLog.open(natsUrl);

async function run(job: GenerationJob): Promise<void> {
  const { writer } = await log.claim(job, 'bench');
  if (writer === null) return;
  const [least] = engines.toSorted((a, b) => a.running - b.running);
  if (!least) throw new RangeError('there are no engines');
  least.running++;
  try {
    let sampled = 0;
    const { id, tenant, prompt, sampling } = job;
    // The script's vocabulary is of bytes, whatever the gateway's is.
    const bytes = prompt.map((token) => token % byteVocabulary.size);
    const request = { id, tenant, prompt: bytes, sampling, ...fresh };
    let [tokens, text]: [number[], string] = [[], ''];
    for await (const output of least.engine.generate(request, writer.cancelled)) {
      if (output.kind !== 'tokens') continue;
      sampled += output.tokens.length;
      tokens = [...tokens, ...output.tokens];
      text += output.text;
      if (tokens.length < Number(together) && !output.finish) continue;
      writer.push({ kind: 'tokens', tokens, text });
      [tokens, text] = [[], ''];
    }
    const usage = { prompt_tokens: prompt.length, cached_tokens: 0, completion_tokens: sampled };
    await writer.append({ kind: 'finish', reason: writer.cancelled.aborted ? 'cancelled' : 'length', usage });
  } finally {
    least.running--;
  }
}

await GenerationConsumer.start(redisUrl, run, {
  concurrency: Number(streams),
  onGivenUp: async (id, error) => {
    process.stderr.write(`${id} was given up: ${error.stack}\n`);
    process.exit(1);
  },
});
process.send?.('ready');
