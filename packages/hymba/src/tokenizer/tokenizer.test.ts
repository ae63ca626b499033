import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CheckpointError } from '@baton/errors';
import { goldenCheckpoint, tinyStoriesCheckpoint } from '@baton/testing';
import { Tokenizer as HubTokenizer } from '@huggingface/tokenizers';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadTokenizer } from './tokenizer.ts';

const checkpoints = {
  'hymba-tiny-stories': tinyStoriesCheckpoint(),
  'shared-pairs': goldenCheckpoint('shared-pairs'),
  'shared-triple': goldenCheckpoint('shared-triple'),
  'no-sharing': goldenCheckpoint('no-sharing'),
  sentencepiece: fileURLToPath(new URL('fixtures/sentencepiece', import.meta.url)),
};
const json = async (file: string) => JSON.parse(await readFile(file, 'utf8'));

describe.each(Object.entries(checkpoints))('%s', (name, dir) => {
  it('gives back any text it encoded', async () => {
    const tokenizer = await loadTokenizer(dir);
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        // SentencePiece writes spaces as ▁, so it cannot tell the two apart.
        fc.pre(name !== 'sentencepiece' || !text.includes('▁'));
        expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
      }),
    );
  });

  it('tells by its length alone how many tokens a text has at least', async () => {
    const tokenizer = await loadTokenizer(dir);
    const longest = tokenizer.tokenText(
      Array.from({ length: tokenizer.size }, (_, id) => id).toSorted(
        (a, b) => tokenizer.tokenText(b).length - tokenizer.tokenText(a).length,
      )[0] ?? 0,
    );
    expect(tokenizer.fewestTokens('x'.repeat(1000))).toBeGreaterThan(20);
    const texts = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 200 }),
      fc
        .constantFrom(' ', '▁', '<s>', '漢', '👩‍👩‍👧', 'e\u0301', '\u0000', longest)
        .map((text) => text.repeat(100)),
    );
    fc.assert(
      fc.property(texts, (text) => {
        const tokens = tokenizer.encode(text, { addSpecialTokens: false });
        expect(tokenizer.fewestTokens(text)).toBeLessThanOrEqual(tokens.length);
      }),
      { numRuns: 500 },
    );
  });

  it('decodes any tokens as the tokenizer library does', async () => {
    const tokenizer = await loadTokenizer(dir);
    const library = new HubTokenizer(
      await json(join(dir, 'tokenizer.json')),
      await json(join(dir, 'tokenizer_config.json')),
    );
    const ids = fc.array(fc.nat(tokenizer.size - 1), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(ids, fc.boolean(), (tokens, skip) => {
        const expected = library.decode(tokens, {
          skip_special_tokens: skip,
          clean_up_tokenization_spaces: false,
        });
        // The library's byte fallback drops a byte order mark in the text.
        fc.pre(!tokenizer.decode(tokens).includes('\ufeff'));
        expect(tokenizer.decode(tokens, { skipSpecialTokens: skip })).toBe(expected);
      }),
      { numRuns: 500 },
    );
  });

  it('shows every token, by text and bytes', async () => {
    const tokenizer = await loadTokenizer(dir);
    for (let id = 0; id < tokenizer.size; id++)
      expect(tokenizer.tokenBytes(id).length, `token ${id}`).toBeGreaterThan(0);
    expect(tokenizer.tokenText(2)).toBe('</s>');
    expect(tokenizer.tokenBytes(tokenizer.size)).toHaveLength(0);
    expect(tokenizer.eosTokenIds).toContain(2);
    expect(tokenizer.bosTokenId).toBe(1);
    expect(tokenizer.isSpecial(2)).toBe(true);
    expect(tokenizer.isSpecial(tokenizer.size)).toBe(false);
  });
});

describe('encode', () => {
  it('gives the ids that the model was trained with', async () => {
    const tokenizer = await loadTokenizer(checkpoints['hymba-tiny-stories']);
    // The first input of the model's expected.safetensors, tokenised by its training code.
    const text = 'Once upon a time, there was a little boat that could not swim.';
    const ids = tokenizer.encode(text);
    expect(ids).toEqual([1, 556, 525, 263, 430, 49, 411, 296, 263, 417, 1299, 332, 440, 371, 1869, 51]);
    expect(tokenizer.decode(ids, { skipSpecialTokens: false })).toBe(`<s>${text}`);
  });

  it('puts one beginning-of-sequence token in front where the checkpoint asks for it', async () => {
    for (const name of ['hymba-tiny-stories', 'sentencepiece'] as const) {
      const tokenizer = await loadTokenizer(checkpoints[name]);
      expect(tokenizer.encode('the cat')[0], name).toBe(1);
      expect(
        tokenizer.encode('<s>the cat').filter((id) => id === 1),
        name,
      ).toEqual([1]);
      expect(tokenizer.encode('the cat', { addSpecialTokens: false }), name).not.toContain(1);
      expect(tokenizer.encode(''), name).toEqual([1]);
    }
    const without = await loadTokenizer(checkpoints['shared-pairs']);
    expect(without.encode('the cat')).not.toContain(1);
  });

  it('falls back to bytes and merges words of the SentencePiece family', async () => {
    const tokenizer = await loadTokenizer(checkpoints.sentencepiece);
    const tokens = (text: string) =>
      tokenizer.encode(text, { addSpecialTokens: false }).map((id) => tokenizer.tokenText(id));
    expect(tokens('the cat and')).toEqual([' the', ' cat', ' and']);
    expect(
      tokenizer
        .encode('ß', { addSpecialTokens: false })
        .slice(1)
        .map((id) => [...tokenizer.tokenBytes(id)]),
    ).toEqual([[0xc3], [0x9f]]);
  });
});

describe('renderChat', () => {
  it('writes the turns of the released format, by the checkpoint’s template', async () => {
    const tokenizer = await loadTokenizer(checkpoints['hymba-tiny-stories']);
    const messages = [
      { role: 'system', content: 'Be kind.' },
      { role: 'user', content: 'Tell me a story.' },
    ];
    const text = tokenizer.renderChat(messages);
    expect(text).toBe(
      '<s><extra_id_0>System\nBe kind.\n\n<extra_id_1>User\nTell me a story.\n<extra_id_1>Assistant\n',
    );
    expect(tokenizer.renderChat(messages, { addGenerationPrompt: false })).not.toContain('Assistant');
    expect(tokenizer.encode(text)).toEqual(tokenizer.encode(text, { addSpecialTokens: false }));
  });

  it('refuses, at `messages`, where there is no template', async () => {
    const tokenizer = await loadTokenizer(checkpoints.sentencepiece);
    expect(() => tokenizer.renderChat([])).toThrow(
      expect.objectContaining({ code: 'invalid_request', param: 'messages' }),
    );
  });
});

describe('with a changed copy of a checkpoint', () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'tokenizer-'));
    await cp(checkpoints.sentencepiece, dir, { recursive: true });
  });
  afterEach(() => rm(dir, { recursive: true }));

  async function change(file: string, edit: (content: ReturnType<typeof JSON.parse>) => unknown) {
    const content = await json(join(dir, file));
    await writeFile(join(dir, file), JSON.stringify(edit(content) ?? content));
  }

  it('takes chat_template.jinja first, and a template for tools where there is one', async () => {
    await change('tokenizer_config.json', (config) => {
      config.chat_template = [
        { name: 'default', template: '{{ bos_token }}plain' },
        { name: 'tool_use', template: '{{ tools[0].name }}' },
      ];
    });
    const named = await loadTokenizer(dir);
    expect(named.renderChat([])).toBe('<s>plain');
    expect(named.renderChat([], { tools: [] })).toBe('<s>plain');
    expect(named.renderChat([], { tools: [{ name: 'sum' }] })).toBe('sum');
    await writeFile(join(dir, 'chat_template.jinja'), '{{ raise_exception("roles must alternate") }}');
    const raising = await loadTokenizer(dir);
    expect(() => raising.renderChat([])).toThrow(
      expect.objectContaining({
        code: 'invalid_value',
        param: 'messages',
        message: expect.stringContaining('alternate'),
      }),
    );
  });

  it('takes the end-of-sequence ids from generation_config.json first', async () => {
    expect((await loadTokenizer(dir)).eosTokenIds).toEqual([2, 353]);
    await writeFile(join(dir, 'generation_config.json'), '{"eos_token_id": 7}');
    expect((await loadTokenizer(dir)).eosTokenIds).toEqual([7]);
  });

  it('reads a Metaspace decoder like a sequence of Replace, ByteFallback, Fuse and Strip', async () => {
    const sequence = await loadTokenizer(dir);
    await change('tokenizer.json', (tokenizer) => {
      tokenizer.decoder = { type: 'Sequence', decoders: [{ type: 'ByteFallback' }, { type: 'Metaspace' }] };
    });
    const metaspace = await loadTokenizer(dir);
    const ids = sequence.encode('the cat  été 👩‍👩‍👧');
    expect(metaspace.decode(ids)).toBe(sequence.decode(ids));
    expect(metaspace.fingerprint).not.toBe(sequence.fingerprint);
  });

  it.each<[string, (tokenizer: ReturnType<typeof JSON.parse>) => void]>([
    ['a normaliser drops characters', (t) => void t.normalizer.normalizers.push({ type: 'StripAccents' })],
    [
      'a normaliser joins characters',
      (t) => {
        t.normalizer.normalizers.push({ type: 'Replace', pattern: { String: '\n\n' }, content: '\n' });
      },
    ],
    [
      'spaces between words are dropped',
      (t) => {
        t.pre_tokenizer = { type: 'WhitespaceSplit' };
      },
    ],
    [
      'one token hides whatever is unknown',
      (t) => {
        t.model.byte_fallback = false;
      },
    ],
    [
      'a special token takes the spaces beside it',
      (t) => {
        t.added_tokens[1].lstrip = true;
      },
    ],
  ])('does not tell the fewest tokens of a text where %s', async (_, edit) => {
    expect((await loadTokenizer(dir)).fewestTokens('aaaa')).toBe(1);
    await change('tokenizer.json', edit);
    expect((await loadTokenizer(dir)).fewestTokens('aaaa')).toBe(0);
  });

  it.each<[string, () => Promise<unknown>, Partial<CheckpointError>]>([
    ['a missing file', () => rm(join(dir, 'tokenizer.json')), { code: 'invalid_checkpoint' }],
    [
      'a truncated file',
      () => writeFile(join(dir, 'tokenizer.json'), '{"model": {'),
      { code: 'invalid_checkpoint' },
    ],
    ['no model', () => change('tokenizer.json', (t) => ({ ...t, model: undefined })), { field: 'model' }],
    [
      'no merges',
      () =>
        change('tokenizer.json', (t) => {
          t.model.merges = undefined;
        }),
      { code: 'invalid_checkpoint' },
    ],
    [
      'another decoder',
      () =>
        change('tokenizer.json', (t) => {
          t.decoder = { type: 'CTC' };
        }),
      { code: 'unsupported_checkpoint', field: 'decoder' },
    ],
    [
      'more tokens than the model has',
      () =>
        change('config.json', (c) => {
          c.vocab_size = 10;
        }),
      { field: 'model.vocab' },
    ],
    [
      'a broken template',
      () => writeFile(join(dir, 'chat_template.jinja'), '{% if %}'),
      { field: 'chat_template' },
    ],
  ])('refuses %s, naming file and field', async (_, damage, expected) => {
    await damage();
    const error = await loadTokenizer(dir).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error).toMatchObject(expected);
    expect((error as CheckpointError).file).toContain(dir);
    expect((error as CheckpointError).message).toContain((error as CheckpointError).file);
  });
});
