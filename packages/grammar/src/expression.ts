import type { Automaton } from './automaton/automaton.ts';

/**
 * A grammar over bytes: regular pieces, put together by what may nest. Compiled from a schema, walked by `Machine`. `repeat`
 * counts in the walk, so a bound of a thousand costs no more than one of two.
 */
export type Expression =
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array }
  | { readonly kind: 'automaton'; readonly automaton: Automaton }
  | { readonly kind: 'sequence'; readonly parts: readonly Expression[] }
  | { readonly kind: 'choice'; options: readonly Expression[] }
  | { readonly kind: 'repeat'; readonly part: Expression; readonly min: number; max: number }
  /** Stands for an expression that is made later: this is how a grammar comes to be recursive. */
  | { readonly kind: 'reference'; target: Expression | null };

export type Reference = Extract<Expression, { kind: 'reference' }>;

const utf8 = new TextEncoder();

/** Exactly this text. */
export const text = (value: string): Expression => ({ kind: 'bytes', bytes: utf8.encode(value) });
export const automaton = (made: Automaton): Expression => ({ kind: 'automaton', automaton: made });
export const sequence = (...parts: Expression[]): Expression => ({ kind: 'sequence', parts });
/** One of them; none at all where there are none. */
export const choice = (options: readonly Expression[]): Expression => {
  const [only, ...others] = options;
  return only && others.length === 0 ? only : { kind: 'choice', options };
};
/** `part` must not match the empty text. */
export const repeat = (part: Expression, min: number, max: number): Expression => ({
  kind: 'repeat',
  part,
  min,
  max,
});
export const reference = (): Reference => ({ kind: 'reference', target: null });
