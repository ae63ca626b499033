import type { Engine } from '@baton/engine';
import { Detokenizer, type Tokenizer } from '@baton/hymba/tokenizer';
import type { LogWriter } from '@baton/log';
import type { GenerationJob } from '@baton/protocol';

/** Runs one claimed generation to its end. */
export type Script = (job: GenerationJob, writer: LogWriter, tokenizer: Tokenizer) => Promise<void>;

export const answerText = 'Hello é 🙂 world';

/** Says `answerText` token by token, within the job's limit, and ends as a real worker would. */
export const answer: Script = async (job, writer, tokenizer) => {
  const { max_tokens, logprobs, prompt_logprobs } = job.sampling;
  const scored = (token: number, logprob: number | null) => ({
    token,
    logprob,
    top: logprob === null ? [] : [[token, logprob] as [number, number]],
  });
  if (prompt_logprobs !== null) {
    const all = job.prompt.map((token, i) => scored(token, i === 0 ? null : -i));
    await writer.append({ kind: 'prompt', from: 0, logprobs: all });
  }
  const tokens = tokenizer.encode(answerText, { addSpecialTokens: false });
  const said = tokens.slice(0, max_tokens);
  const detokenizer = new Detokenizer(tokenizer);
  for (const token of said) {
    await writer.append({
      kind: 'tokens',
      tokens: [token],
      text: detokenizer.push(token),
      ...(logprobs !== null && { logprobs: [scored(token, -0.5)] }),
    });
  }
  await finish(job, writer, said.length < tokens.length ? 'length' : 'stop', said.length);
};

/** Says `text`, token by token. */
export function sayText(text: string): Script {
  return async (job, writer, tokenizer) => {
    const tokens = tokenizer.encode(text, { addSpecialTokens: false });
    const detokenizer = new Detokenizer(tokenizer);
    for (const token of tokens) {
      await writer.append({ kind: 'tokens', tokens: [token], text: detokenizer.push(token) });
    }
    await finish(job, writer, 'stop', tokens.length);
  };
}

/** What a worker does with its engine, as far as it matters to a gateway. */
export function runOn(engine: Engine): Script {
  return async (job, writer) => {
    const { id, tenant, prompt, sampling } = job;
    const request = { id, tenant, prompt, sampling, replay: [], replayTextLength: 0, promptLogprobsFrom: 0 };
    let said = 0;
    for await (const output of engine.generate(request, new AbortController().signal)) {
      if (output.kind !== 'tokens') continue;
      const { finish: reason, ...entry } = output;
      said += entry.tokens.length;
      await writer.append(entry);
      if (reason && reason !== 'cancelled') await finish(job, writer, reason, said);
    }
  };
}

/** Says one word and then fails. */
export const failAfterOneWord: Script = async (_job, writer) => {
  await writer.append({ kind: 'tokens', tokens: [77], text: 'Hell' });
  await writer.append({ kind: 'error', code: 'server_error', message: 'the workers died' });
};

/** Says one word and then nothing until it is cancelled. */
export const waitForCancel: Script = async (job, writer) => {
  await writer.append({ kind: 'tokens', tokens: [77], text: 'Hell' });
  while (!writer.cancelled.aborted) await writer.check();
  await finish(job, writer, 'cancelled', 1);
};

async function finish(
  job: GenerationJob,
  writer: LogWriter,
  reason: 'stop' | 'length' | 'cancelled',
  completionTokens: number,
): Promise<void> {
  const usage = {
    prompt_tokens: job.prompt.length,
    cached_tokens: 0,
    completion_tokens: completionTokens,
  };
  await writer.append({ kind: 'finish', reason, usage });
}
