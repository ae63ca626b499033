/**
 * Converts a random checkpoint of Hymba-1.5B's sizes (3 GB in bfloat16, 6 GB converted) in a process of its own and
 * prints how long it took and how much memory at most. Usage: node scripts/measure-conversion.ts [folder]
 */
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { convert, writeRandomCheckpoint } from '../src/index.ts';

/** The fields of nvidia/Hymba-1.5B-Base's `config.json` that decide its sizes. */
const config = {
  model_type: 'hymba',
  vocab_size: 32001,
  hidden_size: 1600,
  intermediate_size: 5504,
  num_hidden_layers: 32,
  num_attention_heads: 25,
  num_key_value_heads: 5,
  mamba_d_state: 16,
  mamba_d_conv: 4,
  mamba_expand: 2,
  mamba_dt_rank: 100,
  num_memory_tokens: 128,
  sliding_window: 1024,
  global_attn_idx: [0, 15, 31],
  kv_reuse_group: [
    ...[1, 3, 5, 7, 9, 11, 13].map((layer) => [layer, layer + 1]),
    [16, 17, 18],
    ...[19, 21, 23, 25, 27, 29].map((layer) => [layer, layer + 1]),
  ],
  rope_type: 'ntk',
  rope_theta: 10000,
  max_position_embeddings: 8192,
  orig_max_position_embeddings: 2048,
  rms_norm_eps: 1e-6,
  tie_word_embeddings: true,
};

const [, script = '', folder, role] = process.argv;
if (folder !== undefined && role === 'convert') {
  const started = performance.now();
  await convert(join(folder, 'checkpoint'), join(folder, 'converted'));
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  const megabytes = Math.round(process.resourceUsage().maxRSS / 1024);
  process.stdout.write(`converted in ${seconds} s, at most ${megabytes} MB resident\n`);
} else {
  const temporary = await mkdtemp(join(folder ?? tmpdir(), 'baton-conversion-'));
  try {
    await writeRandomCheckpoint(join(temporary, 'checkpoint'), config);
    spawnSync(process.execPath, [script, temporary, 'convert'], { stdio: 'inherit' });
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}
