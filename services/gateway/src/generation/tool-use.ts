import { RequestError } from '@baton/errors';
import { checkStrict, SchemaPlace } from '@baton/grammar';
import type { GrammarSource, JsonGrammar } from '@baton/protocol';
import type { ToolChoice, ToolDefinition } from '../api/tools.ts';
import type { TenantGateway } from '../gateway.ts';
import type { ToolCallRules } from '../render/output-parser.ts';
import { requireToolCalls } from './messages.ts';

/** What a request says about the form of its output. */
export interface OutputRequest {
  readonly tools: readonly ToolDefinition[] | null | undefined;
  readonly choice: ToolChoice | null | undefined;
  /** Whether there may be several calls. */
  readonly parallel: boolean | null | undefined;
  /** What text has to be. */
  readonly format: JsonGrammar | null;
}

/** Where that is in the request, for errors. */
export interface OutputPlaces {
  readonly formatSchema: string;
  /** The parameters of tool `index`. */
  readonly parameters: (index: number) => string;
}

export interface ToolUse {
  /** The functions that the prompt shows the model. */
  readonly tools: readonly ToolDefinition[];
  /** How calls are told from text in the output; null where nothing may be called. */
  readonly rules: ToolCallRules | null;
  /** What the output has to be, calls included. */
  readonly grammar: GrammarSource | null;
}

/**
 * What a request's tools come to. Throws `RequestError` for tools that the model's chat template has no place for, a choice of
 * a function that is not there, and a schema that cannot be kept to.
 */
export async function toolUse(
  request: OutputRequest,
  places: OutputPlaces,
  gateway: TenantGateway,
): Promise<ToolUse> {
  const { model, grammars, tenant } = gateway;
  const { format, parallel } = request;
  const tools = request.tools ?? [];
  const choice = request.choice ?? 'auto';
  const form = tools.length > 0 ? requireToolCalls(model, 'tools') : null;
  const { mode, names } = chosen(choice, tools);
  if (form === null || mode === 'none') {
    if (format) await grammars.check(tenant, format, places.formatSchema);
    return { tools: [], rules: null, grammar: format };
  }
  const { open, close } = form;
  const rules = { open, close, names };
  const callable = [...tools.entries()].filter(([, { name }]) => names.includes(name));
  const constrained =
    format !== null ||
    mode === 'required' ||
    parallel === false ||
    names.length < tools.length ||
    callable.some(([, { strict }]) => strict);
  if (!constrained) return { tools, rules, grammar: null };
  const grammar: GrammarSource = {
    type: 'tool_calls',
    open,
    close,
    functions: await Promise.all(
      callable.map(async ([i, tool]) => ({
        name: tool.name,
        parameters: await argumentsSchema(tool, places.parameters(i), gateway),
      })),
    ),
    parallel: (parallel ?? true) && !(typeof choice === 'object' && choice.type === 'function'),
    otherwise: mode === 'required' ? null : (format ?? 'text'),
  };
  await grammars.check(
    tenant,
    grammar,
    places.formatSchema,
    callable.map(([i]) => places.parameters(i)),
  );
  return { tools, rules, grammar };
}

/** Whether the model may or must call, and which functions. */
function chosen(choice: ToolChoice, tools: readonly ToolDefinition[]) {
  const all = tools.map(({ name }) => name);
  if (typeof choice === 'string') {
    if (choice === 'required' && all.length === 0) throw notThere('there are no tools to be called');
    return { mode: choice, names: all };
  }
  const wanted = choice.type === 'function' ? [choice.name] : choice.tools.map(({ name }) => name);
  const unknown = wanted.find((name) => !all.includes(name));
  if (unknown !== undefined) {
    throw notThere(
      `there is no tool ${JSON.stringify(unknown)}${all.length > 0 ? `; tools: ${all.join(', ')}` : ''}`,
    );
  }
  const mode = choice.type === 'function' ? ('required' as const) : choice.mode;
  return { mode, names: all.filter((name) => wanted.includes(name)) };
}

function notThere(problem: string): RequestError {
  return new RequestError('invalid_value', `'tool_choice': ${problem}`, 'tool_choice');
}

/** What a function's arguments have to fit: the schema of a strict one, and that of another where it can be kept to. */
async function argumentsSchema(
  { parameters, strict }: ToolDefinition,
  param: string,
  { grammars, tenant }: TenantGateway,
): Promise<Record<string, unknown>> {
  if (!parameters) return { type: 'object', additionalProperties: false };
  if (strict) {
    checkStrict(parameters, new SchemaPlace(param));
    return parameters;
  }
  const keepable =
    parameters['type'] === 'object' &&
    (await grammars.passes(tenant, { type: 'json_schema', schema: parameters }));
  return keepable ? parameters : { type: 'object' };
}
