import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { OutputParser, parseOutput } from './output-parser.ts';

const rules = { open: '<toolcall>', close: '</toolcall>', names: ['add', 'now'] };
const parse = (text: string) => parseOutput(text, rules, true);
const deep = `${'['.repeat(20_000)}${']'.repeat(20_000)}`;
const add = { kind: 'call', name: 'add', arguments: '{"a":1}' };

describe('parseOutput', () => {
  it.each<[string, string, unknown[]]>([
    ['text', 'Hello <b>you</b> ', [{ kind: 'text', text: 'Hello <b>you</b> ' }]],
    ['a call', '<toolcall> {"name": "add", "arguments": {"a": 1}} </toolcall>', [add]],
    ['a call that its end cut off', '<toolcall> {"name": "add", "arguments": {"a": 1}}', [add]],
    [
      'text around calls, without the white space between',
      'Let me see.\n<toolcall>{"name":"add","arguments":{"a":1}}</toolcall>\n<toolcall>{"name":"now"}</toolcall>\n done',
      [
        { kind: 'text', text: 'Let me see.' },
        add,
        { kind: 'call', name: 'now', arguments: '{}' },
        { kind: 'text', text: 'done' },
      ],
    ],
    [
      'several calls between two tags, in the form of the chat API too',
      '<toolcall>[{"name":"now","parameters":{}},{"type":"function","function":{"name":"add","arguments":"{\\"a\\":1}"}}]</toolcall>',
      [{ kind: 'call', name: 'now', arguments: '{}' }, add],
    ],
    [
      'the tag that closes a call, where it is in a string of it',
      '<toolcall>{"name":"add","arguments":{"a":"\\"</toolcall>"}}</toolcall> <toolcall>{"name":"now"}</toolcall>',
      [
        { kind: 'call', name: 'add', arguments: '{"a":"\\"</toolcall>"}' },
        { kind: 'call', name: 'now', arguments: '{}' },
      ],
    ],
    [
      'a call after one with a quote too many',
      '<toolcall>{"name":"add}</toolcall> <toolcall>{"name":"now"}</toolcall>',
      [
        { kind: 'text', text: '<toolcall>{"name":"add}</toolcall>' },
        { kind: 'call', name: 'now', arguments: '{}' },
      ],
    ],
    [
      'a function nobody offered as text',
      '<toolcall>{"name":"rm"}</toolcall>',
      [{ kind: 'text', text: '<toolcall>{"name":"rm"}</toolcall>' }],
    ],
    [
      'what is no JSON as text',
      'a <toolcall>{"name</toolcall> b',
      [{ kind: 'text', text: 'a <toolcall>{"name</toolcall> b' }],
    ],
    [
      'what is nested too deep to be written again as text',
      `<toolcall>{"name":"add","arguments":{"a":${deep}}}</toolcall>`,
      [{ kind: 'text', text: `<toolcall>{"name":"add","arguments":{"a":${deep}}}</toolcall>` }],
    ],
  ])('reads %s', (_, text, parts) => {
    expect(parse(text)).toEqual(parts);
  });

  it('is all text where nothing may be called', () => {
    const text = '<toolcall>{"name":"add"}</toolcall>';
    expect(parseOutput(text, null, true)).toEqual([{ kind: 'text', text }]);
  });
});

describe('OutputParser', () => {
  const piece = fc.oneof(
    fc.constantFrom(
      '<toolcall>',
      '</toolcall>',
      '{"name":"add","arguments":{"a":1}}',
      '{"name":"now"}',
      '{"name":"now","arguments":{"b":"</toolcall>"}}',
      '"',
      ' ',
      '\n',
      '<tool',
      'call>',
      '<',
    ),
    fc.string({ maxLength: 4 }),
  );

  it('reads a text the same however it is cut', () => {
    fc.assert(
      fc.property(
        fc.array(piece, { maxLength: 12 }),
        fc.array(fc.nat(80), { maxLength: 12 }),
        (pieces, cuts) => {
          const text = pieces.join('');
          const parser = new OutputParser(rules);
          const ends = [...new Set(cuts.map((cut) => Math.min(cut, text.length)))].sort((a, b) => a - b);
          const parts = [0, ...ends].flatMap((from, i) =>
            parser.push(text.slice(from, ends[i] ?? text.length)),
          );
          parts.push(...parser.end());
          const whole = parse(text);
          const said = (list: typeof parts) =>
            list.map((part) => (part.kind === 'text' ? part.text : `[${part.name}]`)).join('');
          expect(said(parts)).toBe(said(whole));
          expect(parts.filter(({ kind }) => kind === 'call')).toEqual(
            whole.filter(({ kind }) => kind === 'call'),
          );
        },
      ),
      { numRuns: 2000 },
    );
  });
});
