import { type AST, RegExpParser, RegExpSyntaxError } from '@eslint-community/regexpp';
import { automatonOf, type Budget } from './automaton.ts';
import { anyCodePoint, type CodePoints, complement, jsonCharacter } from './characters.ts';
import { choice, inOrder, made, type Regular, repeat } from './regular.ts';

/** A pattern that cannot be made an automaton; `message` says what of it. */
export class PatternError extends Error {}

/** Groups within groups: each takes a part of the stack, on every thread that compiles the pattern. */
const maxNesting = 100;

/**
 * The insides of the JSON strings in which an ECMA-262 regular expression (with the flag `u`) finds a match, which need not
 * be the whole string unless the pattern is anchored. Throws `PatternError` for what is no regular language,
 * `TooLargeError` for what is too large.
 */
export function patternLanguage(pattern: string, budget: Budget): Regular {
  const anything = repeat(characterIn(anyCodePoint, budget), 0, Number.POSITIVE_INFINITY);
  return choice(
    parse(pattern).alternatives.map(({ elements }) => {
      const fromStart = isAssertion(elements[0], 'start');
      const toEnd = elements.length > (fromStart ? 1 : 0) && isAssertion(elements.at(-1), 'end');
      const inside = elements.slice(fromStart ? 1 : 0, toEnd ? -1 : undefined);
      return inOrder([
        ...(fromStart ? [] : [anything]),
        ...inside.map((element) => languageOf(element, budget)),
        ...(toEnd ? [] : [anything]),
      ]);
    }),
  );
}

function characterIn(set: readonly CodePoints[], budget: Budget): Regular {
  return made(automatonOf(jsonCharacter(set), budget));
}

function parse(pattern: string): AST.Pattern {
  if (nesting(pattern) > maxNesting) {
    throw new PatternError(`groups may be nested ${maxNesting} deep at most`);
  }
  try {
    return new RegExpParser({ ecmaVersion: 2025 }).parsePattern(pattern, 0, pattern.length, {
      unicode: true,
    });
  } catch (error) {
    if (error instanceof RegExpSyntaxError) throw new PatternError(error.message);
    throw error;
  }
}

/** How deep groups go, told without the parser, which itself goes as deep as they do. */
function nesting(pattern: string): number {
  let [depth, deepest] = [0, 0];
  // Brackets are characters like others behind a backslash, and in a class.
  for (const [bracket] of pattern.matchAll(/\\.|\[(?:\\.|[^\]\\])*|[()]/gs)) {
    if (bracket === '(') deepest = Math.max(deepest, ++depth);
    else if (bracket === ')') depth--;
  }
  return deepest;
}

function isAssertion(element: AST.Element | undefined, kind: 'start' | 'end'): boolean {
  return element?.type === 'Assertion' && element.kind === kind;
}

function languageOf(element: AST.Element, budget: Budget): Regular {
  switch (element.type) {
    case 'Character':
      return jsonCharacter(codePointsOf(element));
    case 'CharacterClass':
    case 'CharacterSet':
      return characterIn(codePointsOf(element), budget);
    case 'Group':
      if (element.modifiers) throw new PatternError(`the modifiers in ${element.raw} are not supported`);
      return group(element, budget);
    case 'CapturingGroup':
      return group(element, budget);
    case 'Quantifier':
      return repeat(languageOf(element.element, budget), element.min, element.max);
    case 'Assertion':
      throw new PatternError(
        element.kind === 'start' || element.kind === 'end'
          ? `${element.raw} is supported only at the beginning or the end of an alternative of the whole pattern`
          : `the assertion ${element.raw} is not supported`,
      );
    default:
      throw new PatternError(`${element.raw} is not supported`);
  }
}

function group({ alternatives }: AST.Group | AST.CapturingGroup, budget: Budget): Regular {
  return choice(
    alternatives.map(({ elements }) => inOrder(elements.map((element) => languageOf(element, budget)))),
  );
}

type CharacterNode = AST.Character | AST.CharacterClass | AST.CharacterSet | AST.CharacterClassElement;

function codePointsOf(node: CharacterNode): readonly CodePoints[] {
  switch (node.type) {
    case 'Character':
      return [[node.value, node.value]];
    case 'CharacterClassRange':
      return [[node.min.value, node.max.value]];
    case 'CharacterClass': {
      const set = node.elements.flatMap((element) => [...codePointsOf(element as CharacterNode)]);
      return node.negate ? complement(set) : set;
    }
    case 'CharacterSet': {
      if (node.kind === 'any') return complement(lineEnds);
      if (node.kind === 'property') throw new PatternError(`${node.raw} is not supported`);
      return node.negate ? complement(sets[node.kind]) : sets[node.kind];
    }
    default:
      throw new PatternError(`${node.raw} is not supported`);
  }
}

const digits: CodePoints = [0x30, 0x39];
const lineEnds: CodePoints[] = [
  [0x0a, 0x0a],
  [0x0d, 0x0d],
  [0x2028, 0x2029],
];
const sets: Record<'digit' | 'word' | 'space', readonly CodePoints[]> = {
  digit: [digits],
  word: [digits, [0x41, 0x5a], [0x5f, 0x5f], [0x61, 0x7a]],
  space: [
    [0x09, 0x0d],
    [0x20, 0x20],
    [0xa0, 0xa0],
    [0x1680, 0x1680],
    [0x2000, 0x200a],
    [0x2028, 0x2029],
    [0x202f, 0x202f],
    [0x205f, 0x205f],
    [0x3000, 0x3000],
    [0xfeff, 0xfeff],
  ],
};
