import { snapshotKeys } from '@baton/protocol';
import { Redis } from 'ioredis';
import type { FaultCase } from './cases.ts';
import type { ResponseReader } from './response-reader.ts';
import type { TargetSystem, TargetWorker } from './target-system.ts';

/** What a fault is done to. */
export interface Target {
  readonly system: TargetSystem;
  readonly owner: TargetWorker;
  readonly reader: ResponseReader;
  readonly moment: FaultCase['moment'];
  /** Resolves when another worker has claimed the generation, or it has ended. */
  takeover(): Promise<void>;
  /** The moment had gone by when it struck. */
  miss(): void;
}

export interface Fault {
  /** Does the harm, and what has to be mended for the system to go on. May give further readers. */
  readonly strike: (target: Target) => Promise<ResponseReader[] | undefined>;
  /** No snapshot can be used after it, whatever the tier: tokens are those of an undisturbed run. */
  readonly recomputes?: true;
}

const fault = (strike: (target: Target) => Promise<unknown>): Fault => ({
  strike: async (target) => void (await strike(target)),
});

export const faults = {
  SIGKILL: fault(({ owner }) => owner.process.end('SIGKILL')),
  SIGTERM: fault(({ owner }) => owner.process.end('SIGTERM')),
  'SIGSTOP, then SIGCONT': fault(async ({ owner, takeover }) => {
    owner.process.child.kill('SIGSTOP');
    await takeover();
    owner.process.child.kill('SIGCONT');
  }),
  'partition from NATS': fault(async ({ owner, takeover }) => {
    owner.nats.hold();
    await takeover();
    owner.nats.release();
  }),
  'partition from Redis': fault(async ({ owner, takeover }) => {
    owner.redis.hold();
    await takeover();
    owner.redis.release();
  }),
  'NATS restart': fault(({ system }) => system.system.servers.nats.restart()),
  'Redis restart': fault(({ system }) => system.system.servers.redis.restart()),
  'gateway SIGKILL': fault(({ system }) => system.firstGateway.end('SIGKILL')),
  'store full': fault(({ system, owner, reader, moment, miss }) =>
    askStore(system, async (store) => {
      await store.config('RESETSTAT');
      await store.config('SET', 'maxmemory', '1');
      try {
        // Whoever takes over at the end of a turn has nothing left to store.
        if (moment === 'end of turn') owner.store.release();
        else await owner.process.end('SIGKILL');
        await reader.ended;
        if (!(await store.info('errorstats')).includes('errorstat_OOM')) miss();
      } finally {
        await store.config('SET', 'maxmemory', '0');
      }
    }),
  ),
  'store down': {
    recomputes: true,
    async strike({ system, owner, takeover }) {
      await system.store.kill('SIGKILL');
      await owner.process.end('SIGKILL');
      await takeover();
      await system.store.restart();
      return undefined;
    },
  },
  'snapshot page corrupted': {
    recomputes: true,
    async strike({ system, owner }) {
      // Nothing is stored in between.
      owner.process.child.kill('SIGSTOP');
      await askStore(system, corruptPages);
      await owner.process.end('SIGKILL');
      return undefined;
    },
  },
  'two gateways at once': {
    async strike({ reader }) {
      const other = await reader.fork();
      reader.drop();
      return [other];
    },
  },
} satisfies Record<string, Fault>;

async function askStore(system: TargetSystem, ask: (store: Redis) => Promise<unknown>): Promise<void> {
  const store = new Redis(system.store.url);
  try {
    await ask(store);
  } finally {
    store.disconnect();
  }
}

/** Changes a byte of every stored page. */
export async function corruptPages(store: Redis): Promise<void> {
  for (const key of await store.keys(snapshotKeys('*').page('*'))) {
    const middle = Math.floor((await store.strlen(key)) / 2);
    const byte = (await store.getrangeBuffer(key, middle, middle))[0] ?? 0;
    await store.setrange(key, middle, Buffer.of(byte ^ 0xff));
  }
}
