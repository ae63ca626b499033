import { setTimeout as sleep } from 'node:timers/promises';
import { FleetWatch } from '@baton/fleet';
import { connectNats } from '@baton/log';
import { allLiveSubjects, readLogEntry } from '@baton/protocol';
import { GenerationQueue } from '@baton/queue';
import type { Servers } from '../running-servers.ts';
import { LiveTally } from './live-tally.ts';
import type { View } from './render-top.ts';

/** What `baton top` looks at: heartbeats and token logs over NATS, the queue over Redis. It changes nothing. */
export interface Watch {
  look(): Promise<View>;
  close(): Promise<void>;
}

/** Throws `DependencyError` where a server does not answer now; later outages are shown and waited out. */
export async function watchSystem({ redisUrl, natsUrl }: Servers): Promise<Watch> {
  const nats = await connectNats(natsUrl, 'baton-top');
  try {
    const queue = await GenerationQueue.open(redisUrl);
    const fleet = new FleetWatch(nats);
    const tally = new LiveTally();
    const now = () => performance.now() / 1000;
    nats.subscribe(allLiveSubjects, {
      callback: (error, { subject, data }) => {
        if (error) return;
        const generation = subject.slice(subject.lastIndexOf('.') + 1);
        tally.take(generation, readLogEntry(data, subject), now());
      },
    });
    await nats.flush();
    let hears = true;
    void (async () => {
      for await (const { type } of nats.status()) {
        if (type === 'disconnect') hears = false;
        else if (type === 'reconnect') hears = true;
      }
    })();
    return {
      look: async () => ({
        workers: fleet.workers,
        hears,
        queue: await queue.counts().catch(() => null),
        tally,
        now: now(),
        time: new Date().toTimeString().slice(0, 8),
      }),
      close: async () => {
        fleet.close();
        await Promise.race([Promise.allSettled([queue.close(), nats.close()]), sleep(1000)]);
      },
    };
  } catch (error) {
    await nats.close();
    throw error;
  }
}
