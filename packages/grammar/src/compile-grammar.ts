import { RequestError } from '@baton/errors';
import type { GrammarSource, JsonGrammar, ToolCallsGrammar } from '@baton/protocol';
import { Budget } from './automaton/automaton.ts';
import { choice, type Expression } from './expression.ts';
import { prune } from './prune.ts';
import { SchemaCompiler } from './schema/compile-schema.ts';
import { SchemaPlace } from './schema/schema-place.ts';
import { callsOnly, textWithCalls } from './tool-calls.ts';

/** Longest schema, as JSON; of several functions all together. */
const maxCharacters = 100_000;

/**
 * The grammar of the texts that `source` asks for: JSON without any space but one after a comma or a colon. Throws
 * `RequestError` for a schema that is wrong, not supported or too large; `param` is where the schema is in the request, those
 * of functions in `functionParams`, and the error's `param` the part of it that is to blame.
 */
export function compileGrammar(
  source: GrammarSource,
  param: string,
  functionParams: readonly string[] = [],
): Expression {
  const allowance = new Allowance();
  return source.type === 'tool_calls'
    ? toolCalls(source, param, functionParams, allowance)
    : json(source, param, allowance);
}

/** Whatever no bound foresaw, and a schema makes too deep or too long for this process, is the schema's fault. */
function withinStack<T>(place: SchemaPlace, compile: () => T): T {
  try {
    return compile();
  } catch (error) {
    if (error instanceof RangeError) throw place.unsupported('is nested too deep, or too large');
    throw error;
  }
}

/** What all schemas of one grammar may take together. */
class Allowance {
  readonly budget = new Budget();
  characters = maxCharacters;
}

function json(source: JsonGrammar, param: string, allowance: Allowance): Expression {
  const place = new SchemaPlace(param);
  return withinStack(place, () => compileJson(source, place, allowance));
}

function compileJson(source: JsonGrammar, place: SchemaPlace, allowance: Allowance): Expression {
  const { param } = place;
  const schema = source.type === 'json_object' ? { type: 'object' } : source.schema;
  const { length } = JSON.stringify(schema);
  allowance.characters -= length;
  if (allowance.characters < 0) {
    const before = maxCharacters - allowance.characters - length;
    throw new RequestError(
      'invalid_value',
      `'${param}': ${length} characters${before > 0 ? `, after ${before} in schemas before it,` : ''} are more than ${maxCharacters}`,
      param,
    );
  }
  const compiler = new SchemaCompiler(schema, place, allowance.budget);
  const grammar = compiler.compileRoot();
  if (!prune(grammar)) throw place.invalid('no value of finite size fits this schema');
  compiler.checkAlternatives();
  return grammar;
}

function toolCalls(
  source: ToolCallsGrammar,
  param: string,
  functionParams: readonly string[],
  allowance: Allowance,
): Expression {
  const { otherwise } = source;
  const functions = source.functions.map(({ name, parameters: schema }, i) => {
    const place = functionParams[i] ?? `functions[${i}].parameters`;
    return { name, arguments: json({ type: 'json_schema', schema }, place, allowance) };
  });
  if (otherwise === 'text') return textWithCalls(source, functions);
  const calls = callsOnly(source, functions);
  return otherwise === null ? calls : choice([json(otherwise, param, allowance), calls]);
}
