import type { LogState } from '@baton/protocol';
import type { FaultCase } from './cases.ts';
import { checkCase } from './check-case.ts';
import { type Fault, faults } from './faults.ts';
import { ResponseReader } from './response-reader.ts';
import type { TargetSystem, TargetWorker } from './target-system.ts';

/** What is generated. */
export interface Task {
  readonly input: string;
  readonly outputTokens: number;
  /** Where in the output a fault strikes that strikes while decoding: a share of it. */
  readonly at: number;
}

const sampling = {
  greedy: { temperature: 0 },
  seeded: { temperature: 0.9, top_k: 40, seed: 7 },
} as const;

export interface Run {
  readonly id: string;
  readonly readers: readonly ResponseReader[];
  readonly state: LogState;
}

/** How often a case is run until its fault strikes when it should; a machine may be too busy to tell in time. */
const attempts = 10;

/**
 * Disturbs one generation and checks what became of it against `right`, the same one undisturbed. Gives whether the fault
 * struck at its moment; what has to hold holds at any.
 */
export async function runCase(
  system: TargetSystem,
  one: FaultCase,
  task: Task,
  right: Run,
): Promise<{ struck: boolean }> {
  for (let attempt = 1; ; attempt++) {
    await system.heal(one.tier);
    const struck = await disturb(system, one, task, right);
    if (struck || attempt === attempts) return { struck };
  }
}

/** A generation that nobody disturbs. */
export async function runUndisturbed(
  system: TargetSystem,
  task: Task,
  how: FaultCase['sampling'],
): Promise<Run> {
  await system.heal('exact');
  const reader = new ResponseReader(system.urls, { request: requestOf(task, how) });
  const id = await reader.started;
  await reader.ended;
  return { id, readers: [reader], state: await finalState(system, id) };
}

async function disturb(system: TargetSystem, one: FaultCase, task: Task, right: Run): Promise<boolean> {
  const fault: Fault = faults[one.fault];
  const reader = new ResponseReader(system.urls, { request: requestOf(task, one.sampling) });
  const id = await reader.started;
  const held: TargetWorker[] = [];
  await untilMoment(system, id, one, task, async () => {
    // The turn cannot end while its last snapshot is on its way: for half a second, that is.
    const owner = await system.ownerOf(id);
    owner?.store.hold();
    if (owner) held.push(owner);
  });
  const [owner, before] = [await system.ownerOf(id), await system.log.read(id)];
  if (!before) throw new Error(`${id} has no log`);
  const takeover = () => untilTakeover(system, id, before.epoch);
  const moved = before.epoch > 1 && one.tier !== 'exact';
  let struck = owner !== null && !moved && isAt(one.moment, before, task);
  const miss = () => {
    struck = false;
  };
  const { moment } = one;
  const others = owner && (await fault.strike({ system, owner, reader, moment, takeover, miss }));
  for (const { store } of held) store.release();
  const readers = [reader, ...(others ?? [])];
  await Promise.all(readers.map(({ ended }) => ended));
  const run = { id, readers, state: await finalState(system, id) };
  const exact = one.tier === 'exact' || (fault.recomputes === true && !moved);
  await checkCase(system, run, { before, right, exact, moved });
  return struck;
}

function requestOf({ input, outputTokens }: Task, how: FaultCase['sampling']): object {
  return {
    input,
    max_output_tokens: outputTokens,
    ignore_eos: true,
    include: ['message.output_text.logprobs'],
    ...sampling[how],
  };
}

/** Follows a generation until the moment has come, or gone. */
async function untilMoment(
  system: TargetSystem,
  id: string,
  { moment }: FaultCase,
  task: Task,
  holdEnd: () => Promise<void>,
): Promise<void> {
  const feed = await system.log.subscribe(id);
  let holding = false;
  for await (const _ of feed.entries()) {
    if (moment === 'end of turn' && !holding && feed.state.tokens.length > task.outputTokens / 2) {
      holding = true;
      await holdEnd();
    }
    if (isAt(moment, feed.state, task)) break;
  }
  feed.close();
}

function isAt(moment: FaultCase['moment'], state: LogState, { outputTokens, at }: Task): boolean {
  const { owner, tokens, terminal } = state;
  if (owner === null || terminal) return false;
  switch (moment) {
    case 'prefill':
      return tokens.length === 0;
    case 'decode':
      return tokens.length >= at * outputTokens && tokens.length < outputTokens;
    case 'end of turn':
      return tokens.length === outputTokens;
  }
}

async function untilTakeover(system: TargetSystem, id: string, epoch: number): Promise<void> {
  const feed = await system.log.subscribe(id);
  for await (const _ of feed.entries()) if (feed.state.epoch > epoch) break;
  feed.close();
}

/** What the log says once the queue has forgotten the generation, and nobody is left that could want to add to it. */
async function finalState(system: TargetSystem, id: string): Promise<LogState> {
  while (await system.queue.has(id).catch(() => true))
    await new Promise((resolve) => setTimeout(resolve, 25));
  const state = await system.log.read(id);
  if (!state) throw new Error(`${id} has no log`);
  return state;
}
