import { type System, startSystem } from '../../support/system.ts';
import { type Done, decodeLoad, gatewayLoad, processorMs } from './loads.ts';

export const sides = ['off', 'on'] as const;
export type Side = (typeof sides)[number];

/** What one block of loads took each side. */
export type Block = Readonly<Record<Side, { readonly processorMs: number; readonly unitsPerSecond: number }>>;

/** Each with the process whose time it is to take. */
export const loads = {
  decode: { run: decodeLoad, processOf: ({ workers }: System) => workers[0]?.child ?? { pid: undefined } },
  gateway: { run: gatewayLoad, processOf: ({ gateway }: System) => gateway.child },
};
export type Load = keyof typeof loads;
export const loadNames = ['decode', 'gateway'] as const satisfies Load[];

/** Loads of each kind and side that are not measured, until everything is compiled and connected; pages are read after each. */
const warmUps = 12;
/** As the Prometheus of infra/prometheus does. */
const scrapeMs = 15_000;

/**
 * Runs two fresh systems side by side, one of them with everything on, and gives `blocks` blocks of each load. In a block the
 * sides take turns so that a drift of the machine favours neither (off, on, on, off, or the other way round). Processor time
 * is that of the whole block, since telemetry is sent a while after it was recorded.
 */
export async function measurePair(
  { telemetry, blocks, isOdd }: { telemetry: Record<string, string>; blocks: number; isOdd: boolean },
  say: (line: string) => void,
): Promise<Record<Load, Block[]>> {
  const start = (side: Side) => startSystem(side === 'on' ? { env: telemetry, metrics: true } : {});
  const [first, second] = isOdd ? (['on', 'off'] as const) : (['off', 'on'] as const);
  const systems = { [first]: await start(first), [second]: await start(second) } as Record<Side, System>;
  const readPages = () => Promise.allSettled(systems.on.processes.map((process) => process.metrics()));
  const scrape = setInterval(readPages, scrapeMs);
  try {
    const measured: Record<Load, Block[]> = { decode: [], gateway: [] };
    // One kind after the other: what one of them has recorded is hardly sent during the other.
    for (const load of loadNames) {
      for (let i = 0; i < warmUps; i++) {
        for (const side of sides) await loads[load].run(systems[side]);
        await readPages();
      }
      for (let i = 0; i < blocks; i++) {
        const block = await measureBlock(systems, load, i % 2 === 0 ? [first, second] : [second, first]);
        measured[load].push(block);
        const { off, on } = block;
        say(`${load}: ${off.processorMs.toFixed(3)} ms off, ${on.processorMs.toFixed(3)} on`);
      }
    }
    return measured;
  } finally {
    clearInterval(scrape);
    await Promise.all(sides.map((side) => systems[side].stop()));
  }
}

async function measureBlock(
  systems: Record<Side, System>,
  load: Load,
  [a, b]: readonly [Side, Side],
): Promise<Block> {
  const { run, processOf } = loads[load];
  const processor = () => ({
    on: processorMs(processOf(systems.on)),
    off: processorMs(processOf(systems.off)),
  });
  const before = processor();
  const done: Record<Side, Done[]> = { on: [], off: [] };
  for (const side of [a, b, b, a]) done[side].push(await run(systems[side]));
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
