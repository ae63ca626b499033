import { cpus } from 'node:os';

/** Milliseconds of all cores since they started, and of this process. */
interface Usage {
  readonly total: number;
  readonly busy: number;
  readonly own: number;
}

function usage(): Usage {
  const times = cpus().map((core) => core.times);
  const sum = (of: (time: (typeof times)[number]) => number) =>
    times.reduce((all, time) => all + of(time), 0);
  const { user, system } = process.cpuUsage();
  return {
    total: sum(({ user, nice, sys, idle, irq }) => user + nice + sys + idle + irq),
    busy: sum(({ user, nice, sys, irq }) => user + nice + sys + irq),
    own: (user + system) / 1000,
  };
}

/** How much of the cores other processes use, which tells what the figures of a time are worth. */
export class OthersLoad {
  #before = usage();

  /** Their percentage of all cores' time since the last call; 0 where the clocks, which tick in 10 ms, say less. */
  percent(): number {
    const [before, now] = [this.#before, usage()];
    this.#before = now;
    const others = now.busy - before.busy - (now.own - before.own);
    return Math.max(0, (100 * others) / Math.max(1, now.total - before.total));
  }
}
