import { RequestError } from '@baton/errors';
import { describe, expect, it, vi } from 'vitest';
import { Budget } from './automaton/automaton.ts';
import { compileGrammar } from './compile-grammar.ts';
import { Machine } from './machine.ts';

function refusal(schema: unknown): string | null {
  try {
    compileGrammar({ type: 'json_schema', schema: schema as boolean }, 's');
    return null;
  } catch (error) {
    if (error instanceof RequestError) return error.param;
    throw error;
  }
}
const string = (rest: object) => ({ type: 'string', ...rest });
const object = (properties: object, rest = {}) => ({ type: 'object', properties, ...rest });

describe('compileGrammar', () => {
  it.each<[unknown, string | null]>([
    [{}, null],
    [false, 's'],
    [{ not: {} }, 's'],
    [{ not: { type: 'string' } }, 's.not'],
    [{ type: 'text' }, 's.type'],
    [{ type: [] }, 's.type'],
    [{ type: 'integer', multipleOf: 2 }, 's.multipleOf'],
    [{ type: 'integer', minimum: '1' }, 's.minimum'],
    [{ type: 'number', minimum: 0.1234567890123456 }, 's.minimum'],
    [{ type: 'integer', minimum: 3, maximum: 2 }, 's'],
    [object({ a: string({ pattern: '(?<=x)y' }) }), 's.properties.a.pattern'],
    [object({ a: string({ pattern: '(' }) }), 's.properties.a.pattern'],
    [object({ a: string({ pattern: '(a)\\1' }) }), 's.properties.a.pattern'],
    [object({ a: string({ pattern: 'a$b' }) }), 's.properties.a.pattern'],
    [object({ a: string({ format: 'colour' }) }), 's.properties.a.format'],
    [object({ a: string({ minLength: -1 }) }), 's.properties.a.minLength'],
    [string({ minLength: 3, maxLength: 2 }), 's'],
    [string({ pattern: '^(a|b)*a(a|b){30}$' }), 's.pattern'],
    [string({ pattern: '((a{1000}){1000}){1000}' }), 's.pattern'],
    [string({ pattern: '((()){9999}){9999}' }), 's.pattern'],
    [{ anyOf: [{ type: 'null' }, { type: 'array', items: 7 }] }, 's.anyOf[1].items'],
    [{ anyOf: [] }, 's.anyOf'],
    [{ anyOf: [{ type: 'null' }], type: 'null' }, 's.type'],
    [{ allOf: [{}, {}] }, 's.allOf'],
    [{ oneOf: [{ type: 'integer' }, { type: 'number' }] }, 's.oneOf[1]'],
    [{ oneOf: [{ type: 'integer' }, { type: 'string' }] }, null],
    [{ $ref: 'https://example.com/schema' }, 's.$ref'],
    [{ $ref: '#/$defs/none' }, 's.$ref'],
    [{ $ref: '#' }, 's'],
    [{ anyOf: [{ $ref: '#' }, { type: 'null' }] }, null],
    [object({ a: { $ref: '#' } }, { required: ['a'] }), 's'],
    [object({ a: { $ref: '#' } }), null],
    [{ enum: ['\ud800'] }, 's.enum'],
    [{ enum: [1], type: 'string' }, 's'],
    [object({}, { required: 'a' }), 's.required'],
    [object({}, { propertyNames: { enum: ['a'] }, additionalProperties: true }), 's.propertyNames.enum'],
    [object({}, { patternProperties: {} }), 's.patternProperties'],
    [{ title: 'T', 'x-order': 1, type: 'null' }, null],
  ])('%j: %s', (schema, param) => {
    expect(refusal(schema)).toBe(param);
  });

  it('takes groups within groups up to a depth, and brackets that are none', () => {
    const pattern = (depth: number) => string({ pattern: `^${'('.repeat(depth)}a${')'.repeat(depth)}$` });
    expect(refusal(pattern(100))).toBe(null);
    expect(refusal(pattern(101))).toBe('s.pattern');
    expect(refusal(pattern(5000))).toBe('s.pattern');
    expect(refusal(string({ pattern: `^${'\\('.repeat(200)}[${'('.repeat(200)}\\](]$` }))).toBe(null);
  });

  it('takes a chain of references as long as a schema, and a text too long for a call', () => {
    const chain = Array.from({ length: 2700 }, (_, i) => [`d${i}`, { $ref: `#/$defs/d${i + 1}` }]);
    const $defs = { ...Object.fromEntries(chain), d2700: { type: 'null' } };
    const source = { type: 'json_schema', schema: { $ref: '#/$defs/d0', $defs } } as const;
    expect(() => new Machine(compileGrammar(source, 's'))).not.toThrow();
    expect(refusal({ enum: ['é'.repeat(99_000), 'b'] })).toBe('s.enum');
  });

  it('says that a schema is too deep where only the stack could tell', () => {
    const budget = vi.spyOn(Budget.prototype, 'spend').mockImplementation(() => {
      throw new RangeError('Maximum call stack size exceeded');
    });
    expect(refusal(string({ pattern: 'a' }))).toBe('s');
    budget.mockRestore();
  });

  it('names the part that has too many places for a text to be at', () => {
    const names = (count: number) => Array.from({ length: count }, (_, i) => `p${i}`);
    const nulls = (count: number, required: string[] = []) =>
      object(Object.fromEntries(names(count).map((name) => [name, { type: 'null' }])), { required });
    expect(refusal(nulls(1000))).toBe(null);
    expect(refusal(nulls(1001))).toBe('s.properties');
    expect(refusal(nulls(1500, ['p700']))).toBe(null);
    expect(refusal(nulls(1500, ['p7']))).toBe('s.properties');
    expect(refusal({ type: 'array', items: { anyOf: [nulls(500), nulls(400)] } })).toBe(null);
    expect(refusal({ type: 'array', items: { anyOf: [nulls(500), nulls(600)] } })).toBe('s.items.anyOf');
    expect(refusal({ anyOf: names(1100).map((name) => ({ const: name })) })).toBe('s.anyOf');
    expect(refusal({ enum: names(1100) })).toBe(null);
  });

  it('refuses schemas that are too many, too deep or too long', () => {
    expect(refusal({ const: 'x'.repeat(100_001) })).toBe('s');
    const deep = (depth: number): object => (depth === 0 ? {} : { type: 'array', items: deep(depth - 1) });
    expect(refusal(deep(50))).toBe(null);
    expect(refusal(deep(150))).toMatch(/^s\.items/);
    expect(refusal({ anyOf: new Array(6000).fill(true) })).toMatch(/^s\.anyOf\[/);
    const marked = (values: number) => (_: unknown, i: number) =>
      object(
        { kind: { enum: Array.from({ length: values }, (_, j) => i * values + j) } },
        { required: ['kind'] },
      );
    expect(refusal({ oneOf: Array.from({ length: 100 }, marked(10)) })).toBe(null);
    expect(refusal({ oneOf: Array.from({ length: 60 }, marked(100)) })).toBe('s.oneOf');
  });
});
