import { z } from 'zod';
import { refuse } from './parse-request.ts';

/** What `head` lets through, as `schema` has it; what `head` refuses is told first. Documents show `schema` alone. */
export function headFirst<S extends z.ZodType>(head: z.ZodType, schema: S) {
  return z.preprocess((value, ctx) => {
    const { data, error } = head.safeParse(value, { reportInput: true });
    ctx.issues.push(...(error?.issues ?? []).map((issue) => ({ ...issue }) as z.core.$ZodRawIssue));
    return data;
  }, schema);
}

/** Refuses, as unsupported, a `type` that is none of `types`, before the rest of the object is looked at. */
export function typed<S extends z.ZodType<{ type: string }>>(types: readonly string[], schema: S) {
  const head = z.looseObject({
    type: z.string().check((ctx) => {
      if (!types.includes(ctx.value)) {
        refuse(ctx, 'unsupported_value', `${ctx.value} is not supported; supported: ${types.join(', ')}`);
      }
    }),
  });
  return headFirst(head, schema);
}

/** Messages or items of one request, or parts of one text: more than anybody writes, and few enough to be looked at at once. */
const maxItems = 4096;

/** A list of messages, items or parts, of which none is looked at where there are too many. */
export function itemList<S extends z.ZodType>(item: S) {
  const bounded = <T extends z.ZodType>(items: z.ZodArray<T>) => items.min(1).max(maxItems);
  // What is looked at before its schema counts as optional for documents otherwise.
  return headFirst(bounded(z.array(z.unknown())), bounded(z.array(item))).nonoptional();
}

/** What the openai client adds to an answer that it has parsed, and sends back with it. */
export const clientsOwn = z.unknown().optional();

const textPart = z.strictObject({
  type: z.string(),
  text: z.string(),
  annotations: z.array(z.unknown()).nullish(),
  logprobs: z.array(z.unknown()).nullish(),
  // Some clients send the fields of an answer back in each of its parts.
  role: z.literal('assistant').nullish(),
  refusal: z.null().optional(),
  parsed: clientsOwn,
});

/** Text, or a list of text parts, which are one text. */
export function textContent(...partTypes: string[]) {
  return z.union([
    z.string(),
    itemList(typed(partTypes, textPart)).transform((parts) => parts.map((part) => part.text).join('')),
  ]);
}

/** Newer models' name for `system`; chat templates know only the older one. */
export function templateRole(role: string): string {
  return role === 'developer' ? 'system' : role;
}
