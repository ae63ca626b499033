import { CheckpointError } from '@baton/errors';
import type { DecoderSpec } from './files.ts';

/** What a detokeniser must know of a vocabulary. */
export interface TokenTable {
  /** The UTF-8 bytes, perhaps part of a character, that the token adds to a text; none for an id nobody defined. */
  tokenBytes(id: number): Uint8Array;
  /** Special tokens (`<s>`, `</s>`, turn marks) steer the model and are no part of the text. */
  isSpecial(id: number): boolean;
  /** Words carry the space before them, and the one before a text's first word is not part of the text. */
  readonly stripsLeadingSpace: boolean;
}

/** How token strings become bytes, read from the `decoder` of tokenizer.json. */
export interface BytesRule {
  readonly byteLevel: boolean;
  readonly byteFallback: boolean;
  readonly replacements: readonly (readonly [from: string, to: string])[];
  readonly stripsLeadingSpace: boolean;
}

/**
 * Reads a decoder as a rule per token, which is what lets text stream. Covers the byte-level family (GPT-2) and the
 * SentencePiece family (Llama, Hymba-1.5B); any other decoder is a `CheckpointError`.
 */
export function bytesRule(decoder: DecoderSpec, file: string): BytesRule {
  const refuse = (what: string): never => {
    throw new CheckpointError(
      'unsupported_checkpoint',
      `${file}: ${what} is not supported; supported are ByteLevel, Metaspace and sequences of Replace, ByteFallback, Fuse and Strip`,
      { file, field: 'decoder' },
    );
  };
  const rule = {
    byteLevel: false,
    byteFallback: false,
    replacements: [] as [string, string][],
    stripsLeadingSpace: false,
  };
  for (const step of decoder?.type === 'Sequence' ? decoder.decoders : [decoder]) {
    switch (step?.type) {
      case 'ByteLevel':
        rule.byteLevel = true;
        break;
      case 'ByteFallback':
        rule.byteFallback = true;
        break;
      case 'Fuse':
        break;
      case 'Replace':
        rule.replacements.push([step.pattern.String, step.content]);
        break;
      case 'Metaspace':
        rule.replacements.push([step.replacement, ' ']);
        rule.stripsLeadingSpace = step.prepend_scheme !== 'never';
        break;
      case 'Strip':
        if (step.content !== ' ' || step.start > 1 || step.stop > 0) refuse('this Strip decoder');
        rule.stripsLeadingSpace = step.start === 1;
        break;
      default:
        refuse(`decoder ${step?.type ?? 'null'}`);
    }
  }
  return rule;
}

/** The bytes of one token of the model's vocabulary (added tokens stand for themselves). */
export function bytesOf(token: string, rule: BytesRule): Uint8Array {
  if (rule.byteLevel) {
    const bytes = Array.from(token, (character) => byteOfCharacter.get(character));
    if (bytes.every((byte) => byte !== undefined)) return Uint8Array.from(bytes);
  }
  if (rule.byteFallback) {
    const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(token)?.[1];
    if (byte !== undefined) return Uint8Array.of(Number.parseInt(byte, 16));
  }
  return utf8.encode(rule.replacements.reduce((text, [from, to]) => text.replaceAll(from, to), token));
}

const utf8 = new TextEncoder();

/**
 * GPT-2's `bytes_to_unicode`: printable Latin-1 bytes are written as themselves, the rest as U+0100, U+0101, …
 */
export const byteOfCharacter: ReadonlyMap<string, number> = (() => {
  const printable = (byte: number) =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  const map = new Map<string, number>();
  let next = 0x100;
  for (let byte = 0; byte < 256; byte++) {
    map.set(String.fromCharCode(printable(byte) ? byte : next++), byte);
  }
  return map;
})();
