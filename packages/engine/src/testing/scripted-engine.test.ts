import { ServerError } from '@baton/errors';
import { exampleJob } from '@baton/protocol/testing';
import { describe, expect, it } from 'vitest';
import type { EngineOutput, EngineRequest } from '../engine.ts';
import { describeEngineConformance } from '../engine-conformance.ts';
import { byteVocabulary } from './byte-vocabulary.ts';
import { ScriptedEngine } from './scripted-engine.ts';

const never = new AbortController().signal;
const request: EngineRequest = {
  id: 'resp_0',
  tenant: 'tenant',
  prompt: [1, ...byteVocabulary.encode('Tell me a story.')],
  replay: [],
  replayTextLength: 0,
  promptLogprobsFrom: 0,
  sampling: exampleJob({ sampling: { max_tokens: 1000 } }).sampling,
};

describeEngineConformance('ScriptedEngine', async () => ({
  engine: new ScriptedEngine(),
  vocabulary: byteVocabulary,
  prompt: request.prompt,
}));

describe('ScriptedEngine', () => {
  const textOf = (outputs: EngineOutput[]) =>
    outputs.map((output) => (output.kind === 'tokens' ? output.text : '')).join('');

  it('says its script, or a text that depends on the prompt alone', async () => {
    const scripted = new ScriptedEngine({ script: ({ id }) => `I am ${id}.`, stepMs: 1 });
    expect(textOf(await Array.fromAsync(scripted.generate(request, never)))).toBe('I am resp_0.');
    const tell = async (prompt: readonly number[]) =>
      textOf(await Array.fromAsync(new ScriptedEngine().generate({ ...request, prompt }, never)));
    expect(await tell([5, 6])).toBe(await tell([5, 6]));
    expect(await tell([5, 6])).not.toBe(await tell([5, 7]));
  });

  it('says no more once it is aborted, although nobody reads on', async () => {
    let said = 0;
    const engine = new ScriptedEngine({
      slots: 1,
      contextLength: 100_000,
      failure: (position, { id }) => {
        if (id === 'resp_long') said = position;
        return undefined;
      },
    });
    const abort = new AbortController();
    const sampling = { ...request.sampling, max_tokens: 50_000, ignore_eos: true };
    const running = engine.generate({ ...request, id: 'resp_long', sampling }, abort.signal);
    await running.next();
    abort.abort();
    expect(await Array.fromAsync(engine.generate(request, never))).not.toEqual([]);
    expect(said).toBeLessThan(100);
  });

  it('fails at the token it is told to, after all before it', async () => {
    const engine = new ScriptedEngine({
      script: () => 'a long story',
      failure: (position, { replay }) => (position === 4 && replay.length === 0 ? 'throw' : undefined),
    });
    const seen: EngineOutput[] = [];
    const run = async (replay: number[]) => {
      const replayTextLength = textOf(seen).length;
      const outputs = engine.generate({ ...request, replay, replayTextLength }, never);
      for await (const output of outputs) seen.push(output);
    };
    await expect(run([])).rejects.toThrow(ServerError);
    expect(textOf(seen)).toBe('a lo');
    await run(seen.flatMap((output) => (output.kind === 'tokens' ? output.tokens : [])));
    expect(textOf(seen)).toBe('a long story');
  });
});
