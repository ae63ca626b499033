import { Command } from 'commander';
import { start } from './start.ts';

export function startCommand(): Command {
  return new Command('start')
    .description('Run everything on this machine: Redis, NATS, a gateway and workers. Settings: .env.example')
    .action(async () => {
      await start(process.env, (line) => void process.stdout.write(`${line}\n`));
      // A conversion that was interrupted would otherwise run to its end.
      process.exit();
    });
}
