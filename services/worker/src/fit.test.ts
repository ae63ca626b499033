import type { LogEntryOf } from '@baton/protocol';
import { exampleJob } from '@baton/protocol/testing';
import { describe, expect, it } from 'vitest';
import { whyUnfit } from './fit.ts';

const job = exampleJob();
const claimed = (fingerprint?: string): LogEntryOf<'claimed'> => ({
  v: 1,
  kind: 'claimed',
  epoch: 1,
  worker: 'w',
  ...(fingerprint && { fingerprint }),
});
const queued = { epoch: 0, lastClaim: null };
const begunWith = (fingerprint?: string) => ({ epoch: 1, lastClaim: claimed(fingerprint) });
const own = { model: job.model, fingerprint: 'own' };
const [former, another] = [
  { model: job.model, fingerprint: 'former' },
  { model: 'another', fingerprint: 'former' },
];

describe('a generation', () => {
  it.each([
    ['is new', queued, []],
    ['was begun with the same model', begunWith('own'), [former]],
    ['was begun with nobody knows what', begunWith(), [former]],
    ['was begun with a model that nobody runs any more', begunWith('former'), [own, another]],
  ])('is run where it %s', (_, state, running) => {
    expect(whyUnfit(job, state, own, running)).toBeNull();
  });

  it.each([
    ['somebody runs', [former]],
    ['nobody may have been heard to run yet', null],
  ])('is not run where it was begun with a model that %s', (_, running) => {
    expect(whyUnfit(job, begunWith('former'), own, running)).toContain('former');
  });

  it('is never run by another model, and ended by it only where it was not begun in time', () => {
    const other = { ...own, model: 'other' };
    const late = { ...job, start_by: Date.now() - 1 };
    expect(whyUnfit(job, queued, other, [])).toContain('other');
    expect(whyUnfit(late, begunWith('own'), other, [])).toContain('other');
    expect(whyUnfit(late, queued, other, [])).toBeNull();
  });
});
