import { RecordedMetrics } from '@baton/telemetry/testing';
import { expect, it } from 'vitest';
import { observeWorker } from './record.ts';

it('has every series that may come to count something from the beginning', () => {
  const metrics = new RecordedMetrics();
  observeWorker(() => ({ slots: { used: 0, free: 1 }, stateBytes: { running: 0, warm: 0 } }));
  expect(metrics.counted('baton.generations')).toEqual({
    stop: 0,
    length: 0,
    cancelled: 0,
    queue_timeout: 0,
    server_error: 0,
  });
  expect(metrics.counted('baton.restores')).toEqual({
    'none none': 0,
    'warm generation': 0,
    'warm parent': 0,
    'warm prefix': 0,
    'snapshot generation': 0,
    'snapshot parent': 0,
    'snapshot prefix': 0,
  });
  expect(metrics.counted('baton.snapshots')).toMatchObject({
    saved: 0,
    dependency_unavailable: 0,
    store_full: 0,
  });
  expect(metrics.counted('baton.log.fenced_appends')).toEqual({ '': 0 });
  expect(metrics.counted('baton.log.feed_overflows')).toEqual({ '': 0 });
});
