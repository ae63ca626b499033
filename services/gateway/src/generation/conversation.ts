import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { RequestError } from '@baton/errors';
import type { GenerationJob, LogState } from '@baton/protocol';
import { attributes, linksTo, requestSpan } from '@baton/telemetry';
import type { Item } from '../api/items.ts';
import type { ToolDefinition } from '../api/tools.ts';
import type { TenantGateway } from '../gateway.ts';
import { itemsOfOutput } from '../render/output-items.ts';
import { readResponseEcho } from '../render/response-object.ts';
import type { ServedModel } from '../served-model.ts';
import { type Conversation, readConversation } from './conversation-store.ts';
import { type TurnMessage, turnMessages } from './messages.ts';
import { chatPrompt, templateTokens, templateTools } from './prompt.ts';
import { sharedPrefix } from './shared-prefix.ts';
import { findResponse, readResponse, responseOfItem } from './stored-responses.ts';

/** A turn to come: its prompt, and the turn before it whose tokens the prompt begins with, if there is one. */
export interface Turn {
  readonly prompt: number[];
  readonly parent: GenerationJob['parent'];
  readonly shared_prefix?: GenerationJob['shared_prefix'];
}

interface Past {
  readonly state: LogState;
  readonly job: GenerationJob;
}

/** What a turn is made of beside the turns before it. */
export interface TurnInput {
  readonly items: readonly Item[];
  readonly instructions: string | null;
  /** What the model may call. */
  readonly tools: readonly ToolDefinition[];
}

/** The prompt of a turn after `history`. Throws `RequestError` for what the model's chat template has no place for. */
export async function renderTurn(
  gateway: TenantGateway,
  { items, instructions, tools }: TurnInput,
  history: readonly TurnMessage[] = [],
): Promise<Turn> {
  const system = instructions === null ? [] : [{ role: 'system', content: instructions }];
  const messages = [...system, ...history, ...newMessages(gateway.model, items)];
  const prompt = await chatPrompt(gateway, messages, tools, 'input');
  return { prompt, parent: null, ...(await sharedPrefix(gateway, prompt, messages, tools)) };
}

/** The prompt of a turn after the response `previousId`. Throws `RequestError` or `NotFoundError` where it cannot be continued. */
export async function nextTurn(gateway: TenantGateway, previousId: string, turn: TurnInput): Promise<Turn> {
  const past = await readPast(gateway, previousId);
  return (await goOn(gateway, past, turn)) ?? renderTurn(gateway, turn, await historyOf(gateway, past));
}

/** The prompt of a turn after what a conversation holds. */
export async function conversationTurn(
  gateway: TenantGateway,
  { head, items }: Conversation,
  turn: TurnInput,
): Promise<Turn> {
  const state = head === null ? null : await findResponse(gateway, head);
  const next = state?.job ? await goOn(gateway, { state, job: state.job }, turn) : null;
  return (
    next ??
    renderTurn(
      gateway,
      turn,
      newMessages(
        gateway.model,
        items.map(({ item }) => item),
      ),
    )
  );
}

/**
 * A turn whose prompt begins with the tokens of the one before as they were run, never tokenised again, so that its state can
 * be gone on from; null where instructions or tools are others, so that the prompt begins differently.
 */
async function goOn(gateway: TenantGateway, { state, job }: Past, turn: TurnInput): Promise<Turn | null> {
  requestSpan()?.addLinks(linksTo(state.traces.request, { [attributes.link]: 'previous_turn' }));
  const { instructions, tools, tool_calls, generate } = readResponseEcho(job);
  const sameBeginning =
    instructions === turn.instructions &&
    isDeepStrictEqual(templateTools(tool_calls ? tools : []), templateTools(turn.tools));
  if (!sameBeginning || !generate) return null;
  const before = [...job.prompt, ...state.tokens];
  const suffix = await turnSuffix(gateway, state, before.length, turn);
  if (!suffix) return null;
  const { shared_prefix } = job;
  const parent = { id: job.id, tokens: before.length };
  return { prompt: [...before, ...suffix], parent, ...(shared_prefix && { shared_prefix }) };
}

function newMessages(model: ServedModel, items: readonly Item[]): TurnMessage[] {
  return turnMessages(items, model, (i) => `input[${i}]`);
}

async function readPast(gateway: TenantGateway, responseId: string): Promise<Past> {
  const past = await readResponse(gateway, responseId, 'previous_response_id');
  const { terminal } = past.state;
  if (terminal?.kind === 'finish') return past;
  const why = terminal ? 'failed' : 'has not ended yet; wait for its end';
  throw new RequestError('invalid_value', `response ${responseId} ${why}`, 'previous_response_id');
}

/** All messages up to and with a response, the first one first. */
async function historyOf(gateway: TenantGateway, { state, job }: Past): Promise<TurnMessage[]> {
  const { previous_response_id, conversation, input, generate, tool_calls } = readResponseEcho(job);
  if (conversation !== null) {
    const { items } = await readConversation(gateway, conversation, 'previous_response_id');
    const last = items.findLastIndex(({ id }) => responseOfItem(id) === job.id);
    return newMessages(
      gateway.model,
      items.slice(0, last + 1).map(({ item }) => item),
    );
  }
  const before =
    previous_response_id === null
      ? []
      : await historyOf(gateway, await readPast(gateway, previous_response_id));
  const items = [...input, ...(generate ? itemsOfOutput(state, tool_calls) : [])];
  return [...before, ...newMessages(gateway.model, items)];
}

/**
 * What the chat template puts behind an assistant's text where a turn follows, as tokens; null for a template that does not let
 * it be told. `before` tokens come before it. The end of the turn is left out where the response has it already.
 */
async function turnSuffix(
  gateway: TenantGateway,
  { tokens }: LogState,
  before: number,
  { items, tools }: TurnInput,
): Promise<number[] | null> {
  const { model } = gateway;
  const mark = randomUUID();
  const messages = [
    { role: 'user', content: '.' },
    { role: 'assistant', content: mark },
    ...newMessages(model, items),
  ];
  const parts = model.tokenizer.renderChat(messages, { tools: templateTools(tools) }).split(mark);
  const [, after] = parts;
  if (parts.length !== 2 || after === undefined) return null;
  const suffix = await templateTokens(gateway, after, 'input', before);
  const last = tokens.at(-1);
  const ended = last !== undefined && model.tokenizer.eosTokenIds.includes(last) && suffix[0] === last;
  return ended ? suffix.slice(1) : suffix;
}
