import { randomUUID } from 'node:crypto';
import { RequestError } from '@baton/errors';
import type { GenerationJob, LogState } from '@baton/protocol';
import { attributes, linksTo, requestSpan } from '@baton/telemetry';
import type { Gateway } from '../gateway.ts';
import { readResponseEcho } from '../render/response-object.ts';
import type { ServedModel } from '../served-model.ts';
import { chatPrompt } from './prompt.ts';
import { readResponse } from './stored-responses.ts';

/** A message as the chat template gets it. */
export interface TurnMessage {
  readonly role: string;
  readonly content: string;
  readonly [field: string]: unknown;
}

/** A turn to come: its prompt, and the turn before it whose tokens the prompt begins with, if there is one. */
export interface Turn {
  readonly prompt: number[];
  readonly parent: GenerationJob['parent'];
}

interface Past {
  readonly state: LogState;
  readonly job: GenerationJob;
}

/**
 * The prompt of `messages` after the response `previousId`. Its tokens are kept as they were run, never tokenised again, so
 * that its state can be gone on from; where the instructions are others the prompt begins differently and is rendered as a
 * whole. Throws `RequestError` or `NotFoundError` for a response that cannot be continued.
 */
export async function nextTurn(
  gateway: Gateway,
  previousId: string,
  messages: readonly TurnMessage[],
  instructions: string | null,
): Promise<Turn> {
  const past = await readPast(gateway, previousId);
  const { state, job } = past;
  requestSpan()?.addLinks(linksTo(state.traces.request, { [attributes.link]: 'previous_turn' }));
  const echo = readResponseEcho(job);
  const suffix = turnSuffix(gateway.model, state, messages);
  if (echo.instructions === instructions && echo.generate && suffix) {
    const before = [...job.prompt, ...state.tokens];
    return { prompt: [...before, ...suffix], parent: { id: job.id, tokens: before.length } };
  }
  const system = instructions === null ? [] : [{ role: 'system', content: instructions }];
  const history = await historyOf(gateway, past);
  return { prompt: chatPrompt([...system, ...history, ...messages], gateway.model), parent: null };
}

async function readPast(gateway: Gateway, responseId: string): Promise<Past> {
  const past = await readResponse(gateway, responseId, 'previous_response_id');
  const { terminal } = past.state;
  if (terminal?.kind === 'finish') return past;
  const why = terminal ? 'failed' : 'has not ended yet; wait for its end';
  throw new RequestError('invalid_value', `response ${responseId} ${why}`, 'previous_response_id');
}

/** All messages up to and with a response, the first one first. */
async function historyOf(gateway: Gateway, { state, job }: Past): Promise<TurnMessage[]> {
  const { previous_response_id, input, generate } = readResponseEcho(job);
  const before =
    previous_response_id === null
      ? []
      : await historyOf(gateway, await readPast(gateway, previous_response_id));
  return [...before, ...input, ...(generate ? [{ role: 'assistant', content: state.text }] : [])];
}

/**
 * What the chat template puts behind an assistant's text where `messages` follow, as tokens; null for a template that does
 * not let it be told. The end of the turn is left out where the response has it already.
 */
function turnSuffix(
  { tokenizer }: ServedModel,
  { tokens }: LogState,
  messages: readonly TurnMessage[],
): number[] | null {
  const mark = randomUUID();
  const before = [
    { role: 'user', content: '.' },
    { role: 'assistant', content: mark },
  ];
  const parts = tokenizer.renderChat([...before, ...messages]).split(mark);
  const [, after] = parts;
  if (parts.length !== 2 || after === undefined) return null;
  const suffix = tokenizer.encode(after, { addSpecialTokens: false });
  const last = tokens.at(-1);
  const ended = last !== undefined && tokenizer.eosTokenIds.includes(last) && suffix[0] === last;
  return ended ? suffix.slice(1) : suffix;
}
