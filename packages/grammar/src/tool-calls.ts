import type { ToolCallsGrammar } from '@baton/protocol';
import { automatonOf, difference } from './automaton/automaton.ts';
import { anyCharacter } from './automaton/characters.ts';
import { literal, repeat as repeated, sequence as together } from './automaton/regular.ts';
import { automaton, choice, type Expression, repeat, sequence, text } from './expression.ts';
import { comma, member } from './schema/separators.ts';

/** A function and the grammar of its arguments, which must be an object's. */
export interface CallableFunction {
  readonly name: string;
  readonly arguments: Expression;
}

type Form = Pick<ToolCallsGrammar, 'open' | 'close' | 'parallel'>;

const forever = Number.POSITIVE_INFINITY;
/** Templates differ in what they put inside of the tags, and models in what they learned to. */
const gap = repeat(choice([text(' '), text('\n')]), 0, 1);

/** One call, or several with at most a line's end between them, and nothing else. */
export function callsOnly(form: Form, functions: readonly CallableFunction[]): Expression {
  const call = oneCall(form, functions);
  return form.parallel ? sequence(call, repeat(sequence(gap, call), 0, forever)) : call;
}

/** Any text, and in it calls: wherever a text opens one, a call follows. */
export function textWithCalls(form: Form, functions: readonly CallableFunction[]): Expression {
  const said = automaton(textWithout(form.open));
  const call = oneCall(form, functions);
  return sequence(said, repeat(sequence(call, said), 0, form.parallel ? forever : 1));
}

function oneCall({ open, close }: Form, functions: readonly CallableFunction[]): Expression {
  const calls = functions.map(({ name, arguments: args }) =>
    sequence(text(JSON.stringify(name)), comma, member(text('"arguments"'), args)),
  );
  return sequence(
    text(open),
    gap,
    text('{'),
    member(text('"name"'), choice(calls)),
    text('}'),
    gap,
    text(close),
  );
}

/** All text in which `part` does not occur. */
function textWithout(part: string) {
  const any = repeated(anyCharacter, 0, forever);
  return difference(automatonOf(any), automatonOf(together(any, literal(part), any)));
}
