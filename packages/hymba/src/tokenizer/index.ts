export type { ChatMessage, ChatOptions, RenderChat } from './chat-template.ts';
export { Detokenizer, type DetokenizerOptions } from './detokenizer.ts';
export type { TokenTable } from './token-table.ts';
export { loadTokenizer, Tokenizer } from './tokenizer.ts';
export type { ToolCallFormat } from './tool-calls.ts';
