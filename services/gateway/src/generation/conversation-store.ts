import { ConflictError, NotFoundError, RequestError } from '@baton/errors';
import { carriesTagOf, conversationAccountKeys, conversationKey, parseMessage } from '@baton/protocol';
import { z } from 'zod';
import { itemSchema } from '../api/items.ts';
import type { DocumentAccount } from '../documents.ts';
import type { TenantGateway } from '../gateway.ts';
import { itemsOfOutput, outputItemId } from '../render/output-items.ts';
import { readResponseEcho } from '../render/response-object.ts';
import { inputItemId } from '../render/wire-items.ts';
import { findResponse } from './stored-responses.ts';

const conversationSchema = z.strictObject({
  v: z.literal(1),
  id: z.string(),
  /** Milliseconds since the Unix epoch. */
  created_at: z.int(),
  metadata: z.record(z.string(), z.string()),
  items: z.array(z.strictObject({ id: z.string(), item: itemSchema })),
  /** The response whose prompt and output are exactly these items, where there is one. */
  head: z.string().nullable(),
  /** The response whose items are still to come. While it runs nothing else is added. */
  pending: z.strictObject({ response: z.string(), since: z.int() }).nullable(),
});
export type Conversation = z.infer<typeof conversationSchema>;
export type ConversationItem = Conversation['items'][number];

/** Longest conversation, in characters of JSON. */
const maxLength = 16 * 1024 * 1024;
/** A response that was announced this long ago and has no log never came to be. */
const announcedMs = 30_000;
/** How often a change is tried again when another one came first. */
const maxAttempts = 10;

/** Throws `ConflictError` while a response of the conversation runs. */
export function requireIdle({ id, pending }: Conversation): void {
  if (pending === null) return;
  throw new ConflictError(
    'conversation_locked',
    `response ${pending.response} of conversation ${id} has not ended yet; try again after its end`,
    'conversation',
  );
}

export async function createConversation(gateway: TenantGateway, conversation: Conversation): Promise<void> {
  await store(gateway, conversation.id, null, written(conversation), accountOf(gateway));
}

/**
 * A conversation as it is now: with the items of a response that has ended. Throws `NotFoundError`, naming the field or
 * parameter `param`, where there is none that this client may see.
 */
export async function readConversation(
  gateway: TenantGateway,
  id: string,
  param = 'conversation_id',
): Promise<Conversation> {
  return (await load(gateway, id, param)).conversation;
}

/** Changes a conversation as it is when nobody else does. Throws what `change` throws, and as `readConversation`. */
export async function changeConversation(
  gateway: TenantGateway,
  id: string,
  change: (conversation: Conversation) => Conversation,
  param?: string,
): Promise<Conversation> {
  for (let attempt = 0; attempt < maxAttempts; attempt++) {
    const { stored, conversation } = await load(gateway, id, param);
    const changed = change(conversation);
    const account = accountOf(gateway);
    // What a response has added was let in with it, and whoever takes something away is not kept from it.
    const grows = JSON.stringify(changed).length > JSON.stringify(conversation).length;
    const within = grows ? account : { ...account, quotaBytes: Number.MAX_SAFE_INTEGER };
    if (await store(gateway, id, stored, written(changed), within)) return changed;
  }
  throw new ConflictError(
    'conversation_locked',
    `conversation ${id} is being changed all the time; try again`,
    param ?? 'conversation_id',
  );
}

export async function deleteConversation(gateway: TenantGateway, id: string): Promise<void> {
  const { documents, tenant } = gateway;
  const deleted =
    mayBeOf(gateway, id) && (await documents.delete(conversationKey(tenant, id), accountOf(gateway)));
  if (!deleted) throw notFound(id, 'conversation_id');
}

function accountOf({ tenant, settings }: TenantGateway): DocumentAccount {
  return { ...conversationAccountKeys(tenant), quotaBytes: settings.conversationQuotaBytes };
}

/** Puts one text in place of another; false where that is no longer there. Throws `RequestError` where there is no room. */
async function store(
  gateway: TenantGateway,
  id: string,
  before: string | null,
  after: string,
  account: DocumentAccount,
): Promise<boolean> {
  const { documents, tenant } = gateway;
  const change = await documents.change(conversationKey(tenant, id), before, after, account);
  if (change !== 'full') return change === 'done';
  throw new RequestError(
    'request_too_large',
    `conversations may take ${account.quotaBytes} bytes together, which this would exceed; delete some, or items of theirs`,
  );
}

async function load(
  gateway: TenantGateway,
  id: string,
  param = 'conversation_id',
): Promise<{ stored: string; conversation: Conversation }> {
  const stored = mayBeOf(gateway, id)
    ? await gateway.documents.read(conversationKey(gateway.tenant, id))
    : null;
  if (stored === null) throw notFound(id, param);
  const conversation = parseMessage(conversationSchema, stored, `conversation ${id}`);
  return { stored, conversation: await settled(gateway, conversation) };
}

function mayBeOf({ tenant }: TenantGateway, id: string): boolean {
  return /^conv_[0-9a-f]{32}$/.test(id) && carriesTagOf(tenant, id);
}

/** With what has become of the response that was to come. */
async function settled(gateway: TenantGateway, conversation: Conversation): Promise<Conversation> {
  const { pending, items } = conversation;
  if (pending === null) return conversation;
  const state = await findResponse(gateway, pending.response);
  if (!state?.job) {
    return Date.now() - pending.since < announcedMs ? conversation : { ...conversation, pending: null };
  }
  if (state.terminal === null) return conversation;
  if (state.terminal.kind === 'error') return { ...conversation, pending: null };
  const { input, generate, tool_calls } = readResponseEcho(state.job);
  // It only warmed up for a turn to come.
  if (!generate) return { ...conversation, pending: null };
  const asked = input.map((item, i) => ({ id: inputItemId(pending.response, item, i), item }));
  const said = itemsOfOutput(state, tool_calls).map((item, i) => ({
    id: outputItemId(pending.response, i, item.type === 'function_call' ? item.type : 'message'),
    item,
  }));
  return { ...conversation, items: [...items, ...asked, ...said], head: pending.response, pending: null };
}

function written(conversation: Conversation): string {
  const text = JSON.stringify(conversation);
  if (text.length <= maxLength) return text;
  throw new RequestError(
    'request_too_large',
    `conversation ${conversation.id} would take more than ${maxLength} characters; delete items, or begin another one`,
  );
}

function notFound(id: string, param: string): NotFoundError {
  return new NotFoundError('conversation_not_found', `there is no conversation ${id}, or no longer`, param);
}
