import type { Item } from '../api/items.ts';

const prefixes = { message: 'msg', function_call: 'fc', function_call_output: 'fco' } as const;

export function itemIdPrefix({ type }: Item): 'msg' | 'fc' | 'fco' {
  return prefixes[type];
}

/** The id of the `index`-th item that a response was asked with. */
export function inputItemId(responseId: string, item: Item, index: number): string {
  return `${itemIdPrefix(item)}_${responseId.replace(/^resp_/, '')}_in_${index}`;
}

/** An item that is no output of a response, as clients read it. */
export function wireItem(item: Item, id: string) {
  if (item.type !== 'message') return { id, status: 'completed', ...item } as const;
  const { type, role, content } = item;
  const part =
    role === 'assistant'
      ? { type: 'output_text', text: content, annotations: [], logprobs: [] }
      : { type: 'input_text', text: content };
  return { id, type, role, status: 'completed', content: [part] } as const;
}

/** Query of every list of items. */
export interface PageQuery {
  readonly after?: string | undefined;
  readonly limit: number;
  readonly order: 'asc' | 'desc';
}

/** A page of items that are given in the order they came in. */
export function itemPage<T extends { readonly id: string }>(
  items: readonly T[],
  { after, limit, order }: PageQuery,
) {
  const ordered = order === 'asc' ? items : items.toReversed();
  const from = after === undefined ? 0 : ordered.findIndex(({ id }) => id === after) + 1;
  const data = ordered.slice(from, from + limit);
  return {
    object: 'list',
    data,
    first_id: data[0]?.id ?? null,
    last_id: data.at(-1)?.id ?? null,
    has_more: from + limit < ordered.length,
  } as const;
}
