#!/usr/bin/env node
import { Command } from 'commander';
import { convertCommand } from './commands/convert.ts';
import { pullCommand } from './commands/pull.ts';
import { reportError } from './report-error.ts';

const program = new Command('baton')
  .description(
    'Distributed serving for NVIDIA Hymba: a running session moves between machines and outlives them.',
  )
  .addCommand(pullCommand())
  .addCommand(convertCommand());

await program.parseAsync().catch(reportError);
