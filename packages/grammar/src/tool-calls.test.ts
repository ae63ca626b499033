import type { ToolCallsGrammar } from '@baton/protocol';
import { describe, expect, it } from 'vitest';
import { compileGrammar } from './compile-grammar.ts';
import { Grammars } from './grammars.ts';
import { randomTokens, testVocabulary, textOf } from './testing.ts';

const place = { type: 'object', properties: { place: { enum: ['Oslo', '</call>'] } }, required: ['place'] };
const form = { type: 'tool_calls', open: '<call>', close: '</call>' } as const;
const functions = [
  { name: 'weather', parameters: place },
  { name: 'time-1', parameters: { type: 'object', additionalProperties: false } },
];
const grammar = (rest: Pick<ToolCallsGrammar, 'parallel' | 'otherwise'>): ToolCallsGrammar => ({
  ...form,
  functions,
  ...rest,
});
const grammars = new Grammars(testVocabulary, testVocabulary.size);

/** Whether the grammar allows the whole text. */
function allows(source: ToolCallsGrammar, text: string): boolean {
  const matcher = grammars.matcher(source);
  for (const byte of Buffer.from(text)) {
    const token = byte + 3;
    if (!(((matcher.mask.bits[token >>> 5] ?? 0) >>> (token & 31)) & 1)) return false;
    matcher.accept(token);
  }
  return Boolean((matcher.mask.bits[0] ?? 0) & 4);
}

const weather = '<call> {"name": "weather", "arguments": {"place": "Oslo"}} </call>';
const time = '<call>\n{"name":"time-1","arguments":{}}\n</call>';
const unknown = '<call> {"name": "wind", "arguments": {}} </call>';

describe('a grammar of tool calls', () => {
  it.each<[string, Parameters<typeof grammar>[0], string[], string[]]>([
    [
      'one call',
      { parallel: false, otherwise: null },
      [weather, time],
      ['', 'Hm.', weather + time, unknown, ` ${weather}`, weather.slice(0, -1)],
    ],
    [
      'calls',
      { parallel: true, otherwise: null },
      [weather, weather + time, `${time}\n${weather}`],
      ['', `Hm. ${weather}`, `${weather}\n`, `${time}\n\n${weather}`, weather + unknown],
    ],
    [
      'calls in a text',
      { parallel: true, otherwise: 'text' },
      ['', 'Hm. é <cal', `Hm. <${weather} Well. ${time}é`, weather + weather],
      ['<call>', `${weather} <call> `, `Hm. ${unknown}`],
    ],
    [
      'one call in a text',
      { parallel: false, otherwise: 'text' },
      ['Hm.', `Hm. ${weather} Well.`],
      [`${weather} Hm. ${weather}`],
    ],
    [
      'JSON or calls',
      { parallel: true, otherwise: { type: 'json_schema', schema: { const: 7 } } },
      ['7', weather + time],
      ['', `7${weather}`],
    ],
  ])('allows %s', (_, rest, right, wrong) => {
    for (const text of right) expect(allows(grammar(rest), text), text).toBe(true);
    for (const text of wrong) expect(allows(grammar(rest), text), text).toBe(false);
  });

  it('gives calls of the functions, with arguments that fit, whatever is chosen', () => {
    let seed = 1;
    const random = () => {
      seed = (seed * 48271) % 2147483647;
      return seed / 2147483647;
    };
    for (let n = 0; n < 20; n++) {
      const tokens = randomTokens(
        grammars.matcher(grammar({ parallel: false, otherwise: null })),
        random,
        300,
      );
      const { name, arguments: args } = JSON.parse(textOf(tokens).slice('<call>'.length, -'</call>'.length));
      expect(functions.map((each) => each.name)).toContain(name);
      if (name === 'weather') expect(place.properties.place.enum).toContain(args.place);
      else expect(args).toEqual({});
    }
  });

  it('names the function whose schema is to blame', () => {
    const source = (parameters: object) => ({
      ...grammar({ parallel: true, otherwise: 'text' as const }),
      functions: [...functions, { name: 'f', parameters: { ...parameters } }],
    });
    const places = ['tools[0]', 'tools[2]', 'tools[4].parameters'];
    expect(() => compileGrammar(source({ type: 'text' }), 's', places)).toThrow(/tools\[4\].parameters.type/);
    expect(() => compileGrammar(source({ const: 'x'.repeat(100_000) }), 's', places)).toThrow(
      /tools\[4\].parameters.*after \d+ in schemas before it/,
    );
  });
});
