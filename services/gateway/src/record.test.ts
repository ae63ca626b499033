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

it('has every series that may come to count something from the beginning', () => {
  metrics.clear();
  observeGateway(gateway(async () => ({ waiting: 0, active: 0, failed: 0 })))();
  expect(metrics.counted('baton.rejections')).toMatchObject({
    overloaded: 0,
    invalid_value: 0,
    server_error: 0,
  });
  expect(metrics.counted('baton.generations')).toEqual({ cancelled: 0, queue_timeout: 0, server_error: 0 });
  expect(metrics.counted('baton.resumes')).toEqual({ sse: 0, websocket: 0 });
  expect(metrics.counted('baton.log.fenced_appends')).toEqual({ '': 0 });
  expect(metrics.counted('baton.log.feed_overflows')).toEqual({ '': 0 });
});
