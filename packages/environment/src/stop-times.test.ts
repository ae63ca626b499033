import { expect, it } from 'vitest';
import { loadEnv } from './load-env.ts';
import { gatewayStopTimes, inTime, workerStopTimes } from './stop-times.ts';

it('says what each service takes to stop at most, by its own settings', () => {
  const env = loadEnv(
    { BATON_SHUTDOWN_TIMEOUT: '20', BATON_DISCONNECT_GRACE: '7', BATON_DRAIN_TIMEOUT: '40' },
    ['BATON_SHUTDOWN_TIMEOUT', 'BATON_DISCONNECT_GRACE', 'BATON_DRAIN_TIMEOUT'],
  );
  expect(gatewayStopTimes(env)).toEqual({ workMs: 33_000, telemetryMs: 2000 });
  expect(workerStopTimes(env)).toEqual({ workMs: 50_000, telemetryMs: 2000 });
});

it('waits for what ends, and not for what does not', async () => {
  expect(await inTime(Promise.resolve(), 60_000)).toBe(true);
  expect(await inTime(new Promise(() => {}), 1)).toBe(false);
  await expect(inTime(Promise.reject(new Error('broken')), 60_000)).rejects.toThrow('broken');
});
