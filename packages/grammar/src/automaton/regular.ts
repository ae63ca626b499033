import type { Automaton } from './automaton.ts';

/** A regular language over bytes. `Infinity` as `max` is no bound. */
export type Regular =
  | { readonly kind: 'byte'; readonly from: number; readonly to: number }
  /** What an automaton accepts: for parts that occur often. */
  | { readonly kind: 'automaton'; readonly automaton: Automaton }
  | { readonly kind: 'sequence'; readonly parts: readonly Regular[] }
  | { readonly kind: 'choice'; readonly options: readonly Regular[] }
  | { readonly kind: 'repeat'; readonly part: Regular; readonly min: number; readonly max: number };

const utf8 = new TextEncoder();

export const byte = (from: number, to = from): Regular => ({ kind: 'byte', from, to });
export const made = (automaton: Automaton): Regular => ({ kind: 'automaton', automaton });
export const sequence = (...parts: Regular[]): Regular => inOrder(parts);
/** The same for as many as a pattern or a text has; as arguments they would overflow the stack. */
export const inOrder = (parts: readonly Regular[]): Regular => ({ kind: 'sequence', parts });
export const choice = (options: readonly Regular[]): Regular => ({ kind: 'choice', options });
export const repeat = (part: Regular, min: number, max: number): Regular => ({
  kind: 'repeat',
  part,
  min,
  max,
});
export const optional = (part: Regular): Regular => repeat(part, 0, 1);
export const literal = (value: string): Regular => inOrder(Array.from(utf8.encode(value), (b) => byte(b)));
export const empty: Regular = sequence();
