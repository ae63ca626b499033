import { ConfigurationError, withoutSecrets } from '@baton/errors';
import type { z } from 'zod';
import { secretVariables, type VariableName, variables } from './variables.ts';

export type Environment<N extends VariableName> = { readonly [K in N]: z.output<(typeof variables)[K]> };

/**
 * Reads `names` from `source` (a service's `main.ts` passes `process.env`, once, and nobody else reads it).
 * An empty string counts as unset. Throws one `ConfigurationError` that lists every invalid variable, and every
 * `BATON_*` variable that no part of Baton knows, since a misspelt setting must not be ignored in silence. It holds no secrets:
 * whoever reads the logs of a process reads it.
 */
export function loadEnv<N extends VariableName>(
  source: Readonly<Record<string, string | undefined>>,
  names: readonly N[],
): Environment<N> {
  const problems: string[] = [];
  for (const name of Object.keys(source)) {
    if (name.startsWith('BATON_') && !Object.hasOwn(variables, name)) {
      problems.push(`${name} is not a setting of Baton${suggestion(name)}`);
    }
  }
  const values: Partial<Record<VariableName, unknown>> = {};
  for (const name of names) {
    const raw = source[name] === '' ? undefined : source[name];
    const result = variables[name].safeParse(raw);
    if (result.success) values[name] = result.data;
    else problems.push(`${shown(name, raw)} ${reasons(result.error)}`);
  }
  if (problems.length > 0) throw new ConfigurationError(problems.join('\n'));
  return values as Environment<N>;
}

/** Throws `ConfigurationError` for what a command was given with `option` and the variable `name` could not be. */
export function checkOption(option: string, value: string, name: VariableName): void {
  const { error } = variables[name].safeParse(value);
  if (error) throw new ConfigurationError(`${option} ${withoutSecrets(value)} ${reasons(error)}`);
}

function reasons({ issues }: z.ZodError): string {
  return issues.map(({ message }) => message).join(', ');
}

/** A variable as messages show it. */
function shown(name: VariableName, value = ''): string {
  return secretVariables.has(name)
    ? `${name} (${value.length} characters)`
    : `${name}=${withoutSecrets(value)}`;
}

/** Names the known variable that shares the longest prefix, where one is close. */
function suggestion(unknown: string): string {
  const shared = (name: string): number => {
    let i = 0;
    while (i < name.length && name[i] === unknown[i]) i++;
    return i;
  };
  const best = Object.keys(variables).toSorted((a, b) => shared(b) - shared(a))[0];
  return best !== undefined && shared(best) > 'BATON_'.length ? `; did you mean ${best}?` : '';
}
