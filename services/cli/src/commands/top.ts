import { setTimeout as sleep } from 'node:timers/promises';
import { ConfigurationError } from '@baton/errors';
import { Command } from 'commander';
import { runningServers } from '../running-servers.ts';
import { renderTop } from '../top/render-top.ts';
import { type Watch, watchSystem } from '../top/watch.ts';

/** `baton top` */
export function topCommand(): Command {
  return new Command('top')
    .description('watch workers, slots, tokens, queue, sessions and failovers of a running system')
    .option('--every <seconds>', 'how often it looks', '1')
    .option(
      '--once',
      'look for that long, print what was seen, and end; so it does where there is no terminal',
    )
    .action(top);
}

interface Options {
  readonly every: string;
  readonly once?: boolean;
}

async function top({ every, once }: Options): Promise<void> {
  const seconds = Number(every);
  if (!(seconds >= 0.1 && seconds <= 3600)) {
    throw new ConfigurationError(`--every ${every} must be a number of seconds, from 0.1 to 3600`);
  }
  const watch = await watchSystem(runningServers(process.env));
  try {
    if (once || !process.stdout.isTTY) {
      await sleep(seconds * 1000);
      process.stdout.write(`${renderTop(await watch.look(), process.stdout.columns ?? 120, 1000)}\n`);
    } else {
      await live(watch, seconds);
    }
  } finally {
    await watch.close();
  }
}

const enter = '\u001b[?1049h\u001b[?25l';
const leave = '\u001b[?25h\u001b[?1049l';
const home = '\u001b[H';
const clearRight = '\u001b[K';
const clearBelow = '\u001b[J';

/** Redraws on the terminal's other screen until `q` or Ctrl-C. */
async function live(watch: Watch, seconds: number): Promise<void> {
  const { stdin, stdout } = process;
  const quit = new AbortController();
  const onKey = (key: Buffer) => {
    if (['q', 'Q', '\u0003', '\u0004'].includes(key.toString())) quit.abort();
  };
  const stop = () => quit.abort();
  process.once('SIGINT', stop).once('SIGTERM', stop);
  stdin.on('data', onKey);
  if (stdin.isTTY) stdin.setRawMode(true);
  stdout.write(enter);
  try {
    while (!quit.signal.aborted) {
      const screen = renderTop(await watch.look(), stdout.columns, stdout.rows);
      stdout.write(home + screen.replaceAll('\n', `${clearRight}\n`) + clearRight + clearBelow);
      await sleep(seconds * 1000, undefined, { signal: quit.signal }).catch(() => {});
    }
  } finally {
    stdout.write(leave);
    if (stdin.isTTY) stdin.setRawMode(false);
    stdin.off('data', onKey).pause();
  }
}
