import { CheckpointError } from '@baton/errors';
import { Tokenizer as HubTokenizer } from '@huggingface/tokenizers';
import { chatRenderer, type RenderChat } from './chat-template.ts';
import { Detokenizer } from './detokenizer.ts';
import { readTokenizerFiles, type TokenizerFiles } from './files.ts';
import { longestToken } from './longest-token.ts';
import { type BytesRule, bytesOf, bytesRule, type TokenTable } from './token-table.ts';
import { type ToolCallFormat, toolCallFormat } from './tool-calls.ts';

/** A checkpoint's tokenizer and chat template. Make one with `loadTokenizer`. */
export class Tokenizer implements TokenTable {
  /** SHA-256 of tokenizer.json. */
  readonly fingerprint: string;
  readonly bosTokenId: number | null;
  /** Each of these ends a generation. */
  readonly eosTokenIds: readonly number[];
  /** One more than the highest token id. */
  readonly size: number;
  readonly stripsLeadingSpace: boolean;
  /**
   * Chat messages as the prompt's text. A template writes its special tokens itself: encode the text without adding any.
   * Throws `RequestError` at `messages` for what the template refuses, or where the checkpoint has none.
   */
  readonly renderChat: RenderChat;
  /** How the model calls tools; null where its chat template has no place for them. */
  readonly toolCalls: ToolCallFormat | null;
  /** What it was made of, and another one like it can be made of, on another thread. */
  readonly files: TokenizerFiles;
  readonly #longest: number | null;
  readonly #hub: HubTokenizer;
  readonly #addBos: boolean | null;
  readonly #rule: BytesRule;
  readonly #added: ReadonlyMap<number, { readonly content: string; readonly special: boolean }>;
  readonly #bytes: Uint8Array[] = [];

  constructor(files: TokenizerFiles) {
    const { tokenizer, tokenizerFile: file, config, generation, model } = files;
    this.files = files;
    this.#longest = longestToken(files);
    this.#hub = hubTokenizer(files);
    const { vocab } = tokenizer.model;
    const ids = Array.isArray(vocab) ? vocab.keys() : Object.values(vocab);
    this.#added = new Map(tokenizer.added_tokens.map((token) => [token.id, token]));
    this.size = 1 + [...ids, ...this.#added.keys()].reduce((a, b) => Math.max(a, b), -1);
    if (model.vocab_size !== undefined && this.size > model.vocab_size) {
      throw new CheckpointError(
        'invalid_checkpoint',
        `${file} holds token id ${this.size - 1}, but config.json says vocab_size ${model.vocab_size}`,
        { file, field: 'model.vocab' },
      );
    }
    const idOf = (token: string | null | undefined) =>
      token ? (this.#hub.token_to_id(token) ?? null) : null;
    const eos = idOf(config.eos_token);
    this.bosTokenId = idOf(config.bos_token) ?? generation.bos_token_id ?? model.bos_token_id ?? null;
    this.eosTokenIds = generation.eos_token_id ?? model.eos_token_id ?? (eos === null ? [] : [eos]);
    this.fingerprint = files.fingerprint;
    this.#addBos = config.add_bos_token ?? null;
    this.#rule = bytesRule(tokenizer.decoder, file);
    this.stripsLeadingSpace = this.#rule.stripsLeadingSpace;
    this.renderChat = chatRenderer(files);
    this.toolCalls = toolCallFormat(this.renderChat);
  }

  /**
   * Token ids of a text; special tokens written out in it are taken as such. `addSpecialTokens` (default) puts the
   * beginning-of-sequence token in front where the checkpoint wants one (`add_bos_token`, else the post-processor of
   * tokenizer.json), but never a second one.
   */
  encode(text: string, { addSpecialTokens = true }: { readonly addSpecialTokens?: boolean } = {}): number[] {
    const postProcess = addSpecialTokens && this.#addBos !== false;
    const { ids } = this.#hub.encode(text, { add_special_tokens: postProcess });
    const bos = this.bosTokenId;
    if (!postProcess || bos === null) return ids;
    if (ids[0] === bos) return ids[1] === bos ? ids.slice(1) : ids;
    return this.#addBos ? [bos, ...ids] : ids;
  }

  /** How many tokens a text has at least, told by its length alone: 0 where this vocabulary does not let it be told. */
  fewestTokens({ length }: string): number {
    return this.#longest === null ? 0 : Math.ceil(length / this.#longest);
  }

  /** The text of whole sequences of tokens; what is no UTF-8 comes out as U+FFFD. */
  decode(
    ids: readonly number[],
    { skipSpecialTokens = true }: { readonly skipSpecialTokens?: boolean } = {},
  ): string {
    const detokenizer = new Detokenizer(this, { startOfText: true, skipSpecialTokens });
    return ids.map((id) => detokenizer.push(id)).join('') + detokenizer.flush();
  }

  tokenBytes(id: number): Uint8Array {
    let bytes = this.#bytes[id];
    if (!bytes) {
      const added = this.#added.get(id)?.content;
      bytes = added === undefined ? bytesOf(this.#hub.id_to_token(id) ?? '', this.#rule) : utf8.encode(added);
      this.#bytes[id] = bytes;
    }
    return bytes;
  }

  /** A token by itself, for displays: part of a character shows as U+FFFD. */
  tokenText(id: number): string {
    return new TextDecoder('utf-8', { ignoreBOM: true }).decode(this.tokenBytes(id));
  }

  isSpecial(id: number): boolean {
    return this.#added.get(id)?.special ?? false;
  }
}

/** Reads the tokenizer of a checkpoint or converted model. Throws `CheckpointError` naming the file at fault. */
export async function loadTokenizer(modelDir: string): Promise<Tokenizer> {
  return new Tokenizer(await readTokenizerFiles(modelDir));
}

const utf8 = new TextEncoder();

function hubTokenizer({ tokenizer, config, tokenizerFile: file }: TokenizerFiles): HubTokenizer {
  try {
    return new HubTokenizer(tokenizer, config);
  } catch (error) {
    throw new CheckpointError('invalid_checkpoint', `${file} is damaged: ${String(error)}`, { file });
  }
}
