import { RequestError, type RequestErrorCode } from '@baton/errors';
import type { z } from 'zod';

type Issue = z.core.$ZodIssue;

/**
 * Parses a request against its schema. Throws the `RequestError` of the first thing that is wrong, with `param` as the
 * field's path in the notation of the OpenAI API: `messages[0].role`.
 */
export function parseRequest<S extends z.ZodType>(schema: S, value: unknown): z.output<S> {
  const result = schema.safeParse(value, { reportInput: true });
  if (result.success) return result.data;
  const issue = mostSpecific(result.error.issues);
  const path = issue.code === 'unrecognized_keys' ? [...issue.path, ...issue.keys.slice(0, 1)] : issue.path;
  const param = path.length > 0 ? formatPath(path) : null;
  const code = codeOf(issue);
  throw new RequestError(code, messageOf(code, param, issue), param);
}

/** For schema checks: reports a problem with its own error code, at `path` below the checked value. */
export function refuse(
  payload: z.core.ParsePayload,
  code: RequestErrorCode,
  message: string,
  path: PropertyKey[] = [],
): void {
  payload.issues.push({ code: 'custom', input: payload.value, path, message, params: { code } });
}

/** Of a union's branches, the one that got furthest into the value says best what is wrong with it. */
function mostSpecific(issues: readonly Issue[]): Issue {
  const [first] = issues;
  if (!first) throw new TypeError('a failed parse without an issue');
  if (first.code !== 'invalid_union') return first;
  const [furthest] = first.errors
    .filter((branch) => branch.length > 0)
    .map((branch) => mostSpecific(branch))
    .toSorted((a, b) => compareProgress(b, a));
  const nowhere = !furthest || (furthest.path.length === 0 && furthest.code === 'invalid_type');
  return nowhere ? first : { ...furthest, path: [...first.path, ...furthest.path] };
}

function compareProgress(a: Issue, b: Issue): number {
  const byDepth = a.path.length - b.path.length;
  if (byDepth !== 0) return byDepth;
  const byType = Number(a.code !== 'invalid_type') - Number(b.code !== 'invalid_type');
  if (byType !== 0) return byType;
  const [x, y] = [a.path[0], b.path[0]];
  return typeof x === 'number' && typeof y === 'number' ? x - y : 0;
}

function codeOf(issue: Issue): RequestErrorCode {
  switch (issue.code) {
    case 'unrecognized_keys':
      return 'unknown_parameter';
    case 'invalid_type':
      return issue.input === undefined ? 'missing_required_parameter' : 'invalid_type';
    case 'invalid_union':
      return issue.input === undefined ? 'missing_required_parameter' : 'invalid_type';
    case 'invalid_value':
      return issue.input === undefined ? 'missing_required_parameter' : 'invalid_value';
    case 'custom':
      return (issue.params?.['code'] as RequestErrorCode | undefined) ?? 'invalid_value';
    default:
      return 'invalid_value';
  }
}

function messageOf(code: RequestErrorCode, param: string | null, issue: Issue): string {
  const where = param === null ? 'the request body' : `'${param}'`;
  if (code === 'unknown_parameter') return `unknown parameter ${where}`;
  if (code === 'missing_required_parameter') return `${where} is required`;
  return `${where}: ${issue.message}`;
}

function formatPath(path: readonly PropertyKey[]): string {
  return path
    .map((key, i) => (typeof key === 'number' ? `[${key}]` : `${i === 0 ? '' : '.'}${String(key)}`))
    .join('');
}
