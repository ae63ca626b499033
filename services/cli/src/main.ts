#!/usr/bin/env node
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { convertCommand } from './commands/convert.ts';
import { keysCommand } from './commands/keys.ts';
import { pullCommand } from './commands/pull.ts';
import { qualityCommand } from './commands/quality.ts';
import { randomCheckpointCommand } from './commands/random-checkpoint.ts';
import { snapshotCommand } from './commands/snapshot.ts';
import { topCommand } from './commands/top.ts';
import { traceCommand } from './commands/trace.ts';
import { reportError } from './report-error.ts';
import { startCommand } from './start/command.ts';
import { root } from './start/settings.ts';

const settingsFile = join(root, '.env');
if (existsSync(settingsFile)) process.loadEnvFile(settingsFile);

const program = new Command('baton')
  .description(
    'Distributed serving for NVIDIA Hymba: a running session moves between machines and outlives them.',
  )
  .addCommand(startCommand())
  .addCommand(keysCommand())
  .addCommand(pullCommand())
  .addCommand(convertCommand())
  .addCommand(qualityCommand())
  .addCommand(randomCheckpointCommand())
  .addCommand(snapshotCommand())
  .addCommand(topCommand())
  .addCommand(traceCommand());

await program.parseAsync().catch(reportError);
