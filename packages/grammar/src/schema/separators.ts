import { type Expression, repeat, sequence, text } from '../expression.ts';

/** After a comma or a colon there may be one space, and none anywhere else: a model cannot go on with spaces for ever. */
const space = repeat(text(' '), 0, 1);
export const comma = sequence(text(','), space);

export function member(key: Expression, value: Expression): Expression {
  return sequence(key, text(':'), space, value);
}
