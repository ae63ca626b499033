import type { GenerationJob } from '@baton/protocol';
import { readResponseEcho } from './response-object.ts';
import { inputItemId, itemPage, type PageQuery, wireItem } from './wire-items.ts';

/** A page of the items that a response was asked with. */
export function inputItems(job: GenerationJob, query: PageQuery) {
  const items = readResponseEcho(job).input.map((item, i) => wireItem(item, inputItemId(job.id, item, i)));
  return itemPage(items, query);
}
