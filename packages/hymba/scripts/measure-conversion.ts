/**
 * Converts a random checkpoint of Hymba-1.5B's sizes (3 GB in bfloat16, 6 GB converted) in a process of its own and
 * prints how long it took and how much memory at most. Usage: node scripts/measure-conversion.ts [folder]
 */
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { convert, referenceConfig, writeRandomCheckpoint } from '../src/index.ts';

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
    await writeRandomCheckpoint(join(temporary, 'checkpoint'), await referenceConfig('hymba-1.5b'));
    spawnSync(process.execPath, [script, temporary, 'convert'], { stdio: 'inherit' });
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}
