import { byteOfCharacter } from './tokenizer/token-table.ts';

const specialTokens = ['<unk>', '<s>', '</s>'] as const;

/**
 * The tokenizer files of a checkpoint of random weights, by name: byte-level without merges, so that text becomes its UTF-8
 * bytes, and every further id of the vocabulary is a word of its own (` t259`). Empty where not all bytes fit.
 */
export function randomTokenizer(vocabularySize: number): ReadonlyMap<string, unknown> {
  const pieces = [...specialTokens, ...byteOfCharacter.keys()];
  if (vocabularySize < pieces.length) return new Map();
  const vocabulary = Array.from({ length: vocabularySize }, (_, id) => [pieces[id] ?? `\u0120t${id}`, id]);
  return new Map([
    [
      'tokenizer.json',
      {
        version: '1.0',
        truncation: null,
        padding: null,
        added_tokens: specialTokens.map((content, id) => ({
          id,
          content,
          single_word: false,
          lstrip: false,
          rstrip: false,
          normalized: false,
          special: true,
        })),
        normalizer: null,
        pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
        post_processor: null,
        decoder: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
        model: {
          type: 'BPE',
          dropout: null,
          unk_token: '<unk>',
          vocab: Object.fromEntries(vocabulary),
          merges: [],
        },
      },
    ],
    [
      'tokenizer_config.json',
      {
        tokenizer_class: 'PreTrainedTokenizerFast',
        unk_token: '<unk>',
        bos_token: '<s>',
        eos_token: '</s>',
        add_bos_token: true,
        chat_template:
          "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}assistant:",
      },
    ],
    ['generation_config.json', { bos_token_id: 1, eos_token_id: 2 }],
  ]);
}
