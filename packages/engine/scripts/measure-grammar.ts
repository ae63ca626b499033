import { Grammars } from '@baton/grammar';
import { embeddedModel } from '@baton/hymba';
import { loadTokenizer, type Tokenizer } from '@baton/hymba/tokenizer';
import type { GrammarSource } from '@baton/protocol';
import { exampleJob } from '@baton/protocol/testing';
import { uniform } from '../src/sampling/philox.ts';
import { Sampler } from '../src/sampling/sampler.ts';
import type { Vocabulary } from '../src/sequence.ts';

/**
 * What structured output costs: compiling a schema, and then each token, in microseconds, over random logits. `mask` is
 * finding the allowed tokens, with what was found before in this and earlier texts; `sample` is sampling as a whole, with
 * and without a grammar. Prints a table.
 */
const texts = 6;
const tokensOfText = 150;

const person = {
  type: 'object',
  properties: {
    name: { type: 'string' },
    age: { type: 'integer', minimum: 0, maximum: 130 },
    mood: { enum: ['glad', 'sad', 'angry', 'sleepy'] },
    friends: { type: 'array', items: { $ref: '#' } },
  },
  required: ['name', 'age', 'mood', 'friends'],
  additionalProperties: false,
};
const grammars: Record<string, GrammarSource> = {
  'any object': { type: 'json_object' },
  person: { type: 'json_schema', schema: person },
  'string of at most 200': { type: 'json_schema', schema: { type: 'string', maxLength: 200 } },
  'wide (100 optional)': {
    type: 'json_schema',
    schema: {
      type: 'object',
      properties: Object.fromEntries(
        Array.from({ length: 100 }, (_, n) => [`property ${n}`, { type: ['string', 'number', 'null'] }]),
      ),
      additionalProperties: false,
    },
  },
};

interface SizedVocabulary extends Vocabulary {
  readonly size: number;
}

/** As many tokens as Hymba-1.5B has: those of a small vocabulary, and then pairs of them, which begin alike as words do. */
function enlarged(tokenizer: Tokenizer, size: number): SizedVocabulary {
  const side = Math.ceil(Math.sqrt(size));
  const first = tokenizer.size - side;
  return {
    size,
    eosTokenIds: tokenizer.eosTokenIds,
    stripsLeadingSpace: tokenizer.stripsLeadingSpace,
    isSpecial: (id) => tokenizer.isSpecial(id),
    tokenBytes(id) {
      if (id < tokenizer.size) return tokenizer.tokenBytes(id);
      const pair = id - tokenizer.size;
      const [a, b] = [first + Math.floor(pair / side), first + (pair % side)];
      return Buffer.concat([tokenizer.tokenBytes(a), tokenizer.tokenBytes(b)]);
    },
  };
}

function measure(vocabulary: SizedVocabulary, source: GrammarSource) {
  const made = new Grammars(vocabulary, vocabulary.size);
  made.matcher({ type: 'json_object' });
  const compileStart = performance.now();
  made.matcher(source);
  const compileMs = performance.now() - compileStart;
  const times = { mask: [] as number[], sample: [] as number[], free: [] as number[] };
  const logits = new Float32Array(vocabulary.size);
  const context = { prompt: [1], vocabularySize: vocabulary.size, eosTokenIds: vocabulary.eosTokenIds };
  const values = logits.map((_, id) => uniform(1, id) * 4);
  for (let text = 0; text < texts; text++) {
    const { sampling } = exampleJob({ sampling: { temperature: 1, seed: text } });
    const free = new Sampler(sampling, context);
    const guided = new Sampler(sampling, { ...context, grammar: made.matcher(source) });
    const beside = made.matcher(source);
    for (let position = 0; position < tokensOfText; position++) {
      for (let id = 0; id < logits.length; id++)
        logits[id] = values[(id * 31 + position * 17 + text) % values.length] as number;
      times.mask.push(timed(() => beside.mask));
      let token = 0;
      times.sample.push(timed(() => (token = guided.sample(logits))));
      times.free.push(timed(() => free.sample(logits)));
      if (vocabulary.eosTokenIds.includes(token)) break;
      guided.accept(token);
      beside.accept(token);
    }
  }
  return { compileMs, tokens: times.mask.length, ...times };
}

function timed(call: () => unknown): number {
  const start = performance.now();
  call();
  return (performance.now() - start) * 1000;
}

function quantile(values: readonly number[], part: number): string {
  const sorted = values.toSorted((a, b) => a - b);
  return (sorted[Math.floor((sorted.length - 1) * part)] ?? Number.NaN).toFixed(0);
}

const tokenizer = await loadTokenizer(embeddedModel);
const rows = [
  [
    'vocabulary',
    'grammar',
    'compile ms',
    'tokens',
    'mask p50',
    'p99',
    'max',
    'sample p50',
    'p99',
    'free p50',
    'p99',
  ],
];
for (const vocabulary of [tokenizer, enlarged(tokenizer, 32_001)]) {
  const treeStart = performance.now();
  new Grammars(vocabulary, vocabulary.size);
  process.stdout.write(
    `tree of ${vocabulary.size} tokens: ${(performance.now() - treeStart).toFixed(0)} ms\n`,
  );
  for (const [name, source] of Object.entries(grammars)) {
    const { compileMs, tokens, mask, sample, free } = measure(vocabulary, source);
    rows.push([
      String(vocabulary.size),
      name,
      compileMs.toFixed(1),
      String(tokens),
      ...[0.5, 0.99, 1].map((part) => quantile(mask, part)),
      ...[sample, free].flatMap((times) => [quantile(times, 0.5), quantile(times, 0.99)]),
    ]);
  }
}
const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
for (const row of rows) {
  process.stdout.write(`${row.map((cell, column) => cell.padStart(widths[column] ?? 0)).join('  ')}\n`);
}
