import { z } from 'zod';
import { isTooDeep } from '../api/nesting.ts';

/** How calls are told from text in a generation's output. A job carries it, so that every gateway reads the output alike. */
export const toolCallRules = z.strictObject({
  open: z.string().min(1),
  close: z.string().min(1),
  /** The functions that may be called. */
  names: z.array(z.string()),
});
export type ToolCallRules = z.infer<typeof toolCallRules>;

export type OutputPart =
  | { readonly kind: 'text'; readonly text: string }
  /** `arguments` is JSON. */
  | { readonly kind: 'call'; readonly name: string; readonly arguments: string };

/**
 * Splits a generation's text into what is said and what is called, as it comes. The parts of a text are the same however
 * it is cut into pushes, but for where text is cut. What is no call of one of the functions stays text, and white space
 * around calls is dropped. Without rules everything is text.
 */
export class OutputParser {
  readonly #rules: ToolCallRules | null;
  #held = '';
  #afterCall = false;

  constructor(rules: ToolCallRules | null) {
    this.#rules = rules;
  }

  /** The parts that have become certain. */
  push(text: string): OutputPart[] {
    if (this.#rules === null) return textPart(text);
    this.#held += text;
    return this.#take(this.#rules, false);
  }

  /** What was held back, once no more comes. */
  end(): OutputPart[] {
    return this.#rules === null ? [] : this.#take(this.#rules, true);
  }

  #take({ open, close, names }: ToolCallRules, atEnd: boolean): OutputPart[] {
    const parts: OutputPart[] = [];
    while (true) {
      if (this.#afterCall) this.#held = this.#held.trimStart();
      const start = this.#held.indexOf(open);
      if (start < 0) break;
      const end = endOfCall(this.#held, start + open.length, close);
      if (end < 0 && !atEnd) {
        parts.push(...this.#say(this.#held.slice(0, start).trimEnd()));
        this.#held = this.#held.slice(this.#held.slice(0, start).trimEnd().length);
        return parts;
      }
      const body = this.#held.slice(start + open.length, end < 0 ? undefined : end);
      const calls = callsIn(body, names);
      let after = end < 0 ? this.#held.length : end + close.length;
      if (calls === null) {
        // A quote too many may have hidden where it closed.
        const closed = this.#held.indexOf(close, start + open.length);
        after = closed < 0 ? after : closed + close.length;
        parts.push(...this.#say(this.#held.slice(0, after)));
      } else {
        parts.push(...this.#say(this.#held.slice(0, start).trimEnd()), ...calls);
        this.#afterCall = true;
      }
      this.#held = this.#held.slice(after);
    }
    const certain = atEnd ? this.#held : certainText(this.#held, open);
    this.#held = this.#held.slice(certain.length);
    parts.push(...this.#say(certain));
    return parts;
  }

  #say(text: string): OutputPart[] {
    if (text !== '') this.#afterCall = false;
    return textPart(text);
  }
}

/** All parts of a text at once. */
export function parseOutput(text: string, rules: ToolCallRules | null, ended: boolean): OutputPart[] {
  const parser = new OutputParser(rules);
  return joinText([...parser.push(text), ...(ended ? parser.end() : [])]);
}

function joinText(parts: readonly OutputPart[]): OutputPart[] {
  const joined: OutputPart[] = [];
  for (const part of parts) {
    const last = joined.at(-1);
    if (part.kind === 'text' && last?.kind === 'text') {
      joined[joined.length - 1] = { kind: 'text', text: last.text + part.text };
    } else {
      joined.push(part);
    }
  }
  return joined;
}

function textPart(text: string): OutputPart[] {
  return text === '' ? [] : [{ kind: 'text', text }];
}

/** Where a call that began before `from` closes: at the first tag that is in no string of its JSON; -1 where there is none. */
function endOfCall(text: string, from: number, close: string): number {
  if (text.indexOf(close, from) < 0) return -1;
  let inString = false;
  for (let at = from; at < text.length; at++) {
    if (inString && text[at] === '\\') at++;
    else if (text[at] === '"') inString = !inString;
    else if (!inString && text.startsWith(close, at)) return at;
  }
  return -1;
}

/** Without white space at its end, which a call may follow, and without what may be the beginning of `open`. */
function certainText(text: string, open: string): string {
  for (let length = Math.min(open.length - 1, text.length); length > 0; length--) {
    if (open.startsWith(text.slice(-length))) return text.slice(0, -length).trimEnd();
  }
  return text.trimEnd();
}

const calledFunction = z.looseObject({
  name: z.string(),
  arguments: z.union([z.record(z.string(), z.unknown()), z.string()]).optional(),
  parameters: z.record(z.string(), z.unknown()).optional(),
});
const call = z.union([
  z.looseObject({ function: calledFunction }).transform((called) => called.function),
  calledFunction,
]);
const calls = z.union([call.transform((one) => [one]), z.array(call).min(1)]);

/** Null for what is no call, or a call of something else. */
function callsIn(body: string, names: readonly string[]): OutputPart[] | null {
  const parsed = calls.safeParse(jsonOf(body));
  if (!parsed.success || parsed.data.some(({ name }) => !names.includes(name))) return null;
  return parsed.data.map(({ name, arguments: args, parameters }) => ({
    kind: 'call',
    name,
    arguments: typeof args === 'string' ? args : JSON.stringify(args ?? parameters ?? {}),
  }));
}

function jsonOf(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text);
    return isTooDeep(value) ? undefined : value;
  } catch {
    return undefined;
  }
}
