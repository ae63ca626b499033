import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import { DiskStore } from './disk-store.ts';
import { describeStoreConformance } from './store-conformance.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'baton-store-'));
});
afterAll(() => rm(folder, { recursive: true }));

describeStoreConformance('DiskStore', async (limits) => new DiskStore(folder, limits));
