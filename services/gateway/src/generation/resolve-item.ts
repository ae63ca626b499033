import { RequestError } from '@baton/errors';
import type { InputItem, Item } from '../api/items.ts';
import type { TenantGateway } from '../gateway.ts';
import { findItem } from './stored-responses.ts';

/**
 * An input item, or the one that it refers to: of a stored response, or one of `known`. Throws `RequestError` at `param`
 * where there is none that this client may see.
 */
export async function resolveItem(
  gateway: TenantGateway,
  item: InputItem,
  param: string,
  known: readonly { readonly id: string; readonly item: Item }[] = [],
): Promise<Item> {
  if (item.type !== 'item_reference') return item;
  const found = known.find(({ id }) => id === item.id)?.item ?? (await findItem(gateway, item.id));
  if (found) return found;
  throw new RequestError('invalid_value', `'${param}': there is no finished item ${item.id}`, param);
}
