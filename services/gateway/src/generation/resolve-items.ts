import { RequestError } from '@baton/errors';
import type { InputItem, Item } from '../api/items.ts';
import type { TenantGateway } from '../gateway.ts';
import { findItems, responseOfItem } from './stored-responses.ts';

/** References of one request. Each may name another response, whose whole log is then read. */
const maxReferences = 500;

interface KnownItem {
  readonly id: string;
  readonly item: Item;
}

/**
 * Input items, with those that they refer to in place of references: items of stored responses, or some of `known`. The logs
 * of the responses are read one after another, each once. Throws `RequestError` at `param` of the first one that this client
 * cannot see, or of the list where it holds too many.
 */
export async function resolveItems(
  gateway: TenantGateway,
  items: readonly InputItem[],
  param: string,
  known: readonly KnownItem[] = [],
): Promise<Item[]> {
  const found = new Map<string, Item>(known.map(({ id, item }) => [id, item]));
  const references = items.flatMap((item) => (item.type === 'item_reference' ? [item.id] : []));
  if (references.length > maxReferences) {
    throw new RequestError(
      'invalid_value',
      `'${param}': ${references.length} item references are more than ${maxReferences} in one request`,
      param,
    );
  }
  const resolved: Item[] = [];
  const read = new Set<string>();
  for (const [i, item] of items.entries()) {
    if (item.type !== 'item_reference') {
      resolved.push(item);
      continue;
    }
    const response = responseOfItem(item.id);
    if (!found.has(item.id) && response !== null && !read.has(response)) {
      read.add(response);
      const named = references.filter((id) => responseOfItem(id) === response);
      for (const [id, item] of await findItems(gateway, response, named)) found.set(id, item);
    }
    const referred = found.get(item.id);
    if (referred === undefined) {
      const where = `${param}[${i}].id`;
      throw new RequestError('invalid_value', `'${where}': there is no finished item ${item.id}`, where);
    }
    resolved.push(referred);
  }
  return resolved;
}
