import { type Done, type Load, loads, processorMs, type Target } from './loads.ts';

export const sides = ['off', 'on'] as const;
export type Side = (typeof sides)[number];

/** What one block of loads took each side. */
export type Block = Readonly<Record<Side, { readonly processorMs: number; readonly unitsPerSecond: number }>>;

/** Loads of each kind and side that are not measured, until everything is compiled and connected; pages are read after each. */
const warmUps = 12;
/** As the Prometheus of infra/prometheus does. */
const scrapeMs = 15_000;

/**
 * Runs two fresh systems of `load` side by side, one of them with everything on, and gives `blocks` blocks. In a block the
 * sides take turns so that a drift of the machine favours neither (off, on, on, off, or the other way round). Processor time
 * is that of the whole block, since telemetry is sent a while after it was recorded.
 */
export async function measurePair(
  load: Load,
  { telemetry, blocks, isOdd }: { telemetry: Record<string, string>; blocks: number; isOdd: boolean },
  say: (line: string) => void,
): Promise<Block[]> {
  const start = (side: Side) => loads[load].start(side === 'on' ? { env: telemetry, metrics: true } : {});
  const [first, second] = isOdd ? (['on', 'off'] as const) : (['off', 'on'] as const);
  const targets = { [first]: await start(first), [second]: await start(second) } as Record<Side, Target>;
  const readPages = () => Promise.allSettled(targets.on.system.processes.map((process) => process.metrics()));
  const scrape = setInterval(readPages, scrapeMs);
  try {
    for (let i = 0; i < warmUps; i++) {
      for (const side of sides) await loads[load].run(targets[side].system);
      await readPages();
    }
    const measured: Block[] = [];
    for (let i = 0; i < blocks; i++) {
      const block = await measureBlock(targets, load, i % 2 === 0 ? [first, second] : [second, first]);
      measured.push(block);
      const { off, on } = block;
      say(`${load}: ${off.processorMs.toFixed(3)} ms off, ${on.processorMs.toFixed(3)} on`);
    }
    return measured;
  } finally {
    clearInterval(scrape);
    await Promise.all(sides.map((side) => targets[side].stop()));
  }
}

async function measureBlock(
  targets: Record<Side, Target>,
  load: Load,
  [a, b]: readonly [Side, Side],
): Promise<Block> {
  const processor = () => ({ on: processorMs(targets.on.process), off: processorMs(targets.off.process) });
  const before = processor();
  const done: Record<Side, Done[]> = { on: [], off: [] };
  for (const side of [a, b, b, a]) done[side].push(await loads[load].run(targets[side].system));
  const after = processor();
  const of = (side: Side) => {
    const sum = (key: keyof Done) => done[side].reduce((total, one) => total + one[key], 0);
    const units = sum('units');
    return {
      processorMs: (after[side] - before[side]) / units,
      unitsPerSecond: units / sum('seconds'),
    };
  };
  return { on: of('on'), off: of('off') };
}
