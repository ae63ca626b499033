import { NotFoundError } from '@baton/errors';
import { newId } from '@baton/protocol';
import type { FastifyInstance } from 'fastify';
import {
  conversationRequest,
  conversationUpdate,
  includeQuery,
  itemsRequest,
} from '../api/conversation-request.ts';
import type { InputItem } from '../api/items.ts';
import { pageQuery } from '../api/page-query.ts';
import { parseRequest } from '../api/parse-request.ts';
import type { Gateway, TenantGateway } from '../gateway.ts';
import {
  type Conversation,
  type ConversationItem,
  changeConversation,
  createConversation,
  deleteConversation,
  readConversation,
  requireIdle,
} from '../generation/conversation-store.ts';
import { resolveItems } from '../generation/resolve-items.ts';
import { itemIdPrefix, itemPage, wireItem } from '../render/wire-items.ts';
import { traced } from './traced.ts';

type Named = { Params: { id: string } };
type NamedItem = { Params: { id: string; item: string } };

/** Conversations: items that clients and responses add to, kept for as long as they are used. */
export function conversationRoutes(app: FastifyInstance, gateway: Gateway): void {
  app.post(
    '/v1/conversations',
    counted(gateway, async (request, _, gateway) => {
      const { items, metadata } = parseRequest(conversationRequest, request.body ?? {});
      const conversation: Conversation = {
        v: 1,
        id: newId('conv', gateway.tenant),
        created_at: Date.now(),
        metadata: metadata ?? {},
        items: await newItems(gateway, items ?? []),
        head: null,
        pending: null,
      };
      await createConversation(gateway, conversation);
      return conversationObject(conversation);
    }),
  );

  app.get<Named>(
    '/v1/conversations/:id',
    counted(gateway, async (request, _, gateway) => {
      const { id } = request.params as Named['Params'];
      return conversationObject(await readConversation(gateway, id));
    }),
  );

  app.post<Named>(
    '/v1/conversations/:id',
    counted(gateway, async (request, _, gateway) => {
      const { id } = request.params as Named['Params'];
      const { metadata } = parseRequest(conversationUpdate, request.body);
      const update = (conversation: Conversation) => ({ ...conversation, metadata: metadata ?? {} });
      return conversationObject(await changeConversation(gateway, id, update));
    }),
  );

  app.delete<Named>(
    '/v1/conversations/:id',
    counted(gateway, async (request, _, gateway) => {
      const { id } = request.params as Named['Params'];
      await deleteConversation(gateway, id);
      return { id, object: 'conversation.deleted', deleted: true };
    }),
  );

  app.get<Named>(
    '/v1/conversations/:id/items',
    counted(gateway, async (request, _, gateway) => {
      const { id } = request.params as Named['Params'];
      const query = parseRequest(pageQuery, request.query);
      const { items } = await readConversation(gateway, id);
      return itemPage(items.map(rendered), query);
    }),
  );

  app.post<Named>(
    '/v1/conversations/:id/items',
    counted(gateway, async (request, _, gateway) => {
      const { id } = request.params as Named['Params'];
      parseRequest(includeQuery, request.query);
      const added = await newItems(gateway, parseRequest(itemsRequest, request.body).items);
      await changeConversation(gateway, id, (conversation) => {
        requireIdle(conversation);
        return { ...conversation, items: [...conversation.items, ...added], head: null };
      });
      return itemPage(added.map(rendered), { limit: added.length, order: 'asc' });
    }),
  );

  app.get<NamedItem>(
    '/v1/conversations/:id/items/:item',
    counted(gateway, async (request, _, gateway) => {
      const params = request.params as NamedItem['Params'];
      parseRequest(includeQuery, request.query);
      const { items } = await readConversation(gateway, params.id);
      const found = items.find(({ id }) => id === params.item);
      if (!found) throw itemNotFound(params);
      return rendered(found);
    }),
  );

  app.delete<NamedItem>(
    '/v1/conversations/:id/items/:item',
    counted(gateway, async (request, _, gateway) => {
      const params = request.params as NamedItem['Params'];
      const changed = await changeConversation(gateway, params.id, (conversation) => {
        requireIdle(conversation);
        const items = conversation.items.filter(({ id }) => id !== params.item);
        if (items.length === conversation.items.length) throw itemNotFound(params);
        return { ...conversation, items, head: null };
      });
      return conversationObject(changed);
    }),
  );
}

/** As `traced`, for a request that is one of its tenant's in this minute: each reads or writes a whole conversation. */
function counted(gateway: Gateway, handler: Parameters<typeof traced>[1]) {
  return traced(gateway, async (request, reply, gateway) => {
    await gateway.rateLimits?.takeRequest(gateway.tenant, gateway.setHeader);
    return handler(request, reply, gateway);
  });
}

function conversationObject({ id, created_at, metadata }: Conversation) {
  return { id, object: 'conversation', created_at: Math.floor(created_at / 1000), metadata } as const;
}

const rendered = ({ id, item }: ConversationItem) => wireItem(item, id);

async function newItems(gateway: TenantGateway, given: readonly InputItem[]): Promise<ConversationItem[]> {
  const items = await resolveItems(gateway, given, 'items');
  return items.map((item) => ({ id: newId(itemIdPrefix(item), gateway.tenant), item }));
}

function itemNotFound({ id, item }: NamedItem['Params']): NotFoundError {
  return new NotFoundError('item_not_found', `conversation ${id} has no item ${item}`, 'item_id');
}
