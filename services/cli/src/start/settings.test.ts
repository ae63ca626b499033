import { basename, isAbsolute } from 'node:path';
import { ConfigurationError } from '@baton/errors';
import { expect, it } from 'vitest';
import { readSettings } from './settings.ts';

it('serves the embedded model with two workers that share the cores', () => {
  const settings = readSettings({});
  expect(settings.modelName).toBe('hymba-stories-22m');
  expect(settings.workerIds).toEqual(['worker-1', 'worker-2']);
  expect(settings.threadsPerWorker).toBeGreaterThanOrEqual(1);
  expect([settings.dataDir, settings.modelDir].every(isAbsolute)).toBe(true);
  expect(basename(settings.dataDir)).toBe('.baton');
});

it("names workers after their machine where others may see them, or by the user's choice", () => {
  const shared = { BATON_REDIS_URL: 'redis://queue:6379', BATON_WORKERS: '1' };
  expect(readSettings(shared).workerIds[0]).toMatch(/^[\w.-]{1,64}$/);
  expect(readSettings(shared).workerIds).not.toEqual(['worker-1']);
  expect(readSettings({ ...shared, BATON_WORKER_ID: 'gpu' }).workerIds).toEqual(['gpu-1']);
});

it("refuses a gateway's wrong setting before anything starts", () => {
  expect(() => readSettings({ BATON_BODY_LIMIT: 'big' })).toThrow(ConfigurationError);
  expect(() => readSettings({ BATON_HOST: '0.0.0.0' })).toThrow(ConfigurationError);
});
