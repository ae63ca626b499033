import { RecordedMetrics } from '@baton/telemetry/testing';
import { expect, it } from 'vitest';
import { type Observed, observeGateway } from './record.ts';

const metrics = new RecordedMetrics();

function gateway(counts: Observed['queue']['counts']): Observed {
  return { queue: { counts }, fleet: { running: [], workers: [] }, sockets: () => [] };
}

it('tells how many wait where Redis answers, and nothing of it where Redis refuses', async () => {
  let redis = async () => ({ waiting: 3, active: 2, failed: 0 });
  const stop = observeGateway(gateway(() => redis()));
  expect(await metrics.observed('baton.queue.depth')).toEqual({ waiting: 3, active: 2, failed: 0 });
  redis = () => Promise.reject(new Error('no answer'));
  expect(await metrics.observed('baton.queue.depth')).toEqual({});
  stop();
});

it('does not wait for a Redis that hangs', async () => {
  const stop = observeGateway(gateway(() => new Promise(() => {})));
  expect(await metrics.observed('baton.queue.depth')).toEqual({});
  stop();
});
