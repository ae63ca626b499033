import fc from 'fast-check';

const name = fc.constantFrom('a', 'b', 'name', 'é "x"', 'items');
const small = fc.integer({ min: 0, max: 4 });
const anyBound = fc.oneof(
  fc.integer({ min: -1200, max: 1200 }),
  fc.integer({ min: -99_999, max: 99_999 }).map((n) => n / 1000),
  fc.constantFrom(9007199254740991, -9007199254740991, 0.1, 0, 1e-7),
);
const bounds = fc.record(
  { minimum: anyBound, maximum: anyBound, exclusiveMinimum: anyBound, exclusiveMaximum: anyBound },
  { requiredKeys: [] },
);
const patterns = [
  '^[a-z]{2,4}$',
  'x',
  '^\\d+(-\\d+)*$',
  '^(?:a|"b\\\\)+',
  '[^\\w\\s]',
  '^.{1,3}$',
  '^$',
  'é|^\\n',
];
const formats = ['date', 'time', 'date-time', 'duration', 'email', 'hostname', 'ipv4', 'ipv6', 'uuid'];

const leaf = fc.oneof(
  fc.record({ type: fc.constant('string') }),
  fc.record({ type: fc.constant('string'), minLength: small, maxLength: small }, { requiredKeys: ['type'] }),
  fc.record(
    { type: fc.constant('string'), pattern: fc.constantFrom(...patterns), maxLength: small },
    { requiredKeys: ['type', 'pattern'] },
  ),
  fc.record({ type: fc.constant('string'), format: fc.constantFrom(...formats) }),
  fc.tuple(fc.constantFrom('number', 'integer'), bounds).map(([type, rest]) => ({ type, ...rest })),
  fc.record({
    type: fc.constantFrom('boolean', 'null', ['string', 'null'], ['integer', 'boolean', 'number']),
  }),
  fc.record({ enum: fc.array(fc.jsonValue({ maxDepth: 1 }), { minLength: 1, maxLength: 4 }) }),
  fc.record({ const: fc.jsonValue({ maxDepth: 2 }) }),
  fc.record({ description: fc.string() }),
  fc.record({ $ref: fc.constantFrom('#/$defs/tree', '#/$defs/leaf') }),
);

const { schema } = fc.letrec((tie) => {
  const part = tie('schema');
  return {
    schema: fc.oneof(
      { maxDepth: 4, depthIdentifier: 'schema' },
      leaf,
      tie('object'),
      tie('array'),
      tie('any'),
    ),
    object: fc
      .tuple(
        fc.dictionary(name, part, { maxKeys: 4, depthIdentifier: 'schema' }),
        fc.array(name, { maxLength: 2 }),
        fc.record(
          {
            additionalProperties: fc.oneof(fc.boolean(), part),
            propertyNames: fc.record(
              { maxLength: small, pattern: fc.constantFrom('^[a-z]*$', 'a') },
              { requiredKeys: [] },
            ),
          },
          { requiredKeys: [] },
        ),
      )
      .map(([properties, required, rest]) => ({
        type: 'object',
        properties,
        required: [...new Set(required)],
        ...rest,
      })),
    array: fc
      .record(
        { items: part, prefixItems: fc.array(part, { maxLength: 2 }), minItems: small, maxItems: small },
        { requiredKeys: [] },
      )
      .map((rest) => ({ type: 'array', ...rest })),
    any: fc.oneof(
      fc.record({ anyOf: fc.array(part, { minLength: 1, maxLength: 3 }) }),
      fc.record({ allOf: fc.tuple(part) }),
      fc.tuple(part, part).map(([a, b]) => ({
        oneOf: [a, b].map((value, n) => ({
          type: 'object',
          properties: { kind: { const: n }, value },
          required: ['kind'],
        })),
      })),
    ),
  };
});

/** Schemas that use all that is supported, for property tests; some fit no value at all. */
export const anySchema: fc.Arbitrary<unknown> = schema.map((part) => ({
  anyOf: [part],
  $defs: {
    leaf: { type: 'integer', minimum: -5, exclusiveMaximum: 17 },
    tree: {
      type: 'object',
      properties: {
        value: { $ref: '#/$defs/leaf' },
        next: { anyOf: [{ $ref: '#/$defs/tree' }, { type: 'null' }] },
      },
      required: ['next'],
    },
  },
}));
