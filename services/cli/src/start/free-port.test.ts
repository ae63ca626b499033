import { once } from 'node:events';
import { createServer } from 'node:net';
import { ConfigurationError } from '@baton/errors';
import { expect, it } from 'vitest';
import { freePort } from './free-port.ts';

it('takes a port that is free, or finds one', async () => {
  const port = await freePort('127.0.0.1', 0);
  expect(port).toBeGreaterThan(0);
  expect(await freePort('127.0.0.1', port)).toBe(port);
});

it('says which port is in use and what to do', async () => {
  const port = await freePort('127.0.0.1', 0);
  const occupant = createServer().listen(port, '127.0.0.1');
  await once(occupant, 'listening');
  try {
    await expect(freePort('127.0.0.1', port)).rejects.toThrow(
      new ConfigurationError(
        `port ${port} on 127.0.0.1 is in use: stop what listens there, or choose another with BATON_PORT=${port + 1}`,
      ),
    );
  } finally {
    occupant.close();
  }
});

it('names an address that is not of this machine', async () => {
  await expect(freePort('192.0.2.1', 0)).rejects.toThrow(/BATON_HOST=192\.0\.2\.1 is not an address/);
});
