/** Those of `all` that `--option a,b` names, or all; ends the process where it names another. */
export function chosen<T extends string>(
  option: string,
  given: string | undefined,
  all: readonly T[],
): readonly T[] {
  const names = given?.split(',') as T[] | undefined;
  const unknown = names?.find((name) => !all.includes(name));
  if (unknown === undefined) return names ?? all;
  process.stderr.write(`--${option} does not know "${unknown}"; it takes ${all.join(', ')}\n`);
  process.exit(1);
}
