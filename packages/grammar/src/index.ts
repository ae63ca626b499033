export { compileGrammar } from './compile-grammar.ts';
export { type GrammarMatcher, Grammars } from './grammars.ts';
export { SchemaPlace } from './schema/schema-place.ts';
export { checkStrict } from './schema/strict.ts';
export type { GrammarVocabulary, TokenMask } from './token-mask.ts';
