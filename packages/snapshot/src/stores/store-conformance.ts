import { createHash, randomBytes } from 'node:crypto';
import { StoreFullError } from '@baton/errors';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { SnapshotStore, StoreLimits } from './store.ts';

const roomy: StoreLimits = { ttlSeconds: 3600, quotaBytes: 1e9, totalBytes: 1e9 };

/** What holds for every store: to be called in a test file of each. `open` opens the same store each time. */
export function describeStoreConformance(
  name: string,
  open: (limits: StoreLimits) => Promise<SnapshotStore>,
  /** Bytes that the store adds to each page and manifest. */
  { overhead = 0 }: { readonly overhead?: number } = {},
): void {
  describe(`${name} conforms`, () => {
    let store: SnapshotStore;
    beforeAll(async () => {
      store = await open(roomy);
    });
    afterAll(() => store?.close());

    const known: string[] = [];
    const newTenant = () => {
      const tenant = `tenant-${name.toLowerCase()}-${known.length}`;
      known.push(tenant);
      return tenant;
    };
    const page = (size = 100) => {
      const bytes = new Uint8Array(randomBytes(size));
      return { key: createHash('sha256').update(bytes).digest('hex'), bytes };
    };
    const manifestOf = (pages: readonly ReturnType<typeof page>[]) => ({
      bytes: new Uint8Array(randomBytes(50)),
      pages: pages.map(({ key, bytes }) => ({ key, bytes: bytes.length })),
    });
    const put = async (on: SnapshotStore, tenant: string, session: string, sizes: readonly number[]) => {
      const pages = sizes.map((size) => page(size));
      await on.putPages(tenant, pages);
      const manifest = manifestOf(pages);
      const version = await on.putManifest(tenant, session, manifest, null);
      expect(version).not.toBeNull();
      return { pages, manifest, version, keys: pages.map(({ key }) => key) };
    };

    it('gives back what it was given, and tells what it has not', async () => {
      const tenant = newTenant();
      const pages = Array.from({ length: 150 }, (_, i) => page(i * 7));
      const stranger = page();
      await store.putPages(tenant, pages);
      const keys = [...pages, stranger].map(({ key }) => key);
      expect(await store.missing(tenant, keys)).toEqual(new Set([stranger.key]));
      const found = await store.getPages(tenant, keys.toReversed());
      expect(found[0]).toBeNull();
      expect(found.slice(1).map((bytes) => Buffer.from(bytes ?? []))).toEqual(
        pages.toReversed().map(({ bytes }) => Buffer.from(bytes)),
      );
    });

    it('replaces a manifest only by one that knows it', async () => {
      const tenant = newTenant();
      expect(await store.getManifest(tenant, 's')).toBeNull();
      const { manifest, version, pages } = await put(store, tenant, 's', [10, 20]);
      const stored = await store.getManifest(tenant, 's');
      expect(Buffer.from(stored?.bytes ?? [])).toEqual(Buffer.from(manifest.bytes));
      expect(stored?.version).toBe(version);
      const next = manifestOf(pages);
      expect(await store.putManifest(tenant, 's', next, null)).toBeNull();
      expect(await store.putManifest(tenant, 's', next, 'another')).toBeNull();
      const replaced = await store.putManifest(tenant, 's', next, version);
      expect(replaced).not.toBeNull();
      expect((await store.getManifest(tenant, 's'))?.version).toBe(replaced);
      const rivals = await Promise.all(
        [1, 2, 3].map(() => store.putManifest(tenant, 's', manifestOf(pages), replaced)),
      );
      expect(rivals.filter((winner) => winner !== null)).toHaveLength(1);
    });

    it('refuses a manifest whose pages are not there', async () => {
      const tenant = newTenant();
      await expect(store.putManifest(tenant, 's', manifestOf([page()]), null)).rejects.toThrow(/page/);
      expect(await store.getManifest(tenant, 's')).toBeNull();
    });

    it('shows a tenant nothing of another one', async () => {
      const [own, other] = [newTenant(), newTenant()];
      const { keys } = await put(store, own, 's', [10]);
      expect(await store.getManifest(other, 's')).toBeNull();
      expect(await store.missing(other, keys)).toEqual(new Set(keys));
      expect(await store.getPages(other, keys)).toEqual([null]);
      await store.delete(other, 's');
      expect(await store.getManifest(own, 's')).not.toBeNull();
      expect(await store.usage(other)).toEqual({ bytes: 0, sessions: 0 });
    });

    it('forgets a session on request, and no page that another one names', async () => {
      const tenant = newTenant();
      const { pages, keys } = await put(store, tenant, 'first', [1000, 2000]);
      const own = page(500);
      await store.putPages(tenant, [own]);
      await store.putManifest(tenant, 'second', manifestOf([...pages.slice(0, 1), own]), null);
      expect(await store.usage(tenant)).toEqual({
        bytes: 3000 + 1500 + 100 + 6 * overhead,
        sessions: 2,
      });
      await store.delete(tenant, 'first');
      await store.delete(tenant, 'never there');
      expect(await store.getManifest(tenant, 'first')).toBeNull();
      const [shared, , kept] = await store.getPages(tenant, [...keys, own.key]);
      expect([shared?.length, kept?.length]).toEqual([1000, 500]);
      expect(await store.usage(tenant)).toEqual({ bytes: 1550 + 3 * overhead, sessions: 1 });
    });

    it('takes damaged pages away, which can then be stored again', async () => {
      const tenant = newTenant();
      const { pages, keys, version } = await put(store, tenant, 's', [100, 200]);
      await store.removePages(tenant, keys.slice(0, 1));
      expect(await store.missing(tenant, keys)).toEqual(new Set(keys.slice(0, 1)));
      expect((await store.getPages(tenant, keys)).map((bytes) => bytes?.length)).toEqual([undefined, 200]);
      await store.putPages(tenant, pages.slice(0, 1));
      expect(await store.putManifest(tenant, 's', manifestOf(pages), version)).not.toBeNull();
      expect((await store.getPages(tenant, keys)).map((bytes) => bytes?.length)).toEqual([100, 200]);
    });

    it("forgets a tenant's oldest sessions beyond its quota, and refuses what never fits", async () => {
      const small = await open({ ...roomy, quotaBytes: 5000 });
      const tenant = newTenant();
      for (const session of ['a', 'b', 'c', 'd']) {
        await put(small, tenant, session, [1900]);
        // Sessions are told apart by when they came, to the millisecond.
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      const kept = await Promise.all(
        ['a', 'b', 'c', 'd'].map((session) => small.getManifest(tenant, session)),
      );
      expect(kept.map((manifest) => manifest !== null)).toEqual([false, false, true, true]);
      expect((await small.usage(tenant)).bytes).toBeLessThanOrEqual(5000);
      await expect(put(small, tenant, 'e', [6000])).rejects.toThrow(StoreFullError);
      expect(await small.getManifest(tenant, 'd')).not.toBeNull();
      await small.close();
    });

    it('keeps all tenants below the memory bound, whoever has most giving way', async () => {
      const used = await Promise.all(known.map((tenant) => store.usage(tenant)));
      const before = used.reduce((sum, { bytes }) => sum + bytes, 0);
      const tight = await open({ ...roomy, totalBytes: before + 60_000 });
      const [large, small] = [newTenant(), newTenant()];
      const sizes = [
        [large, 'a', 20_000],
        [large, 'b', 20_000],
        [small, 'a', 15_000],
        [small, 'b', 10_000],
      ] as const;
      for (const [tenant, session, size] of sizes) {
        await put(tight, tenant, session, [size]);
        // Sessions are told apart by when they came, to the millisecond.
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      expect(await store.getManifest(large, 'a')).toBeNull();
      expect(await store.getManifest(large, 'b')).not.toBeNull();
      expect((await store.usage(small)).sessions).toBe(2);
      await tight.close();
    });

    it('collects old pages that no session names, and none in use', async () => {
      const tenant = newTenant();
      const { keys } = await put(store, tenant, 'in use', [300, 400]);
      const hasty = await open({ ...roomy, unnamedSeconds: 0.02 });
      const unnamed = page();
      await hasty.putPages(tenant, [unnamed]);
      const left = async () => {
        await hasty.collect();
        return store.getPages(tenant, [unnamed.key]);
      };
      await expect.poll(left).toEqual([null]);
      const inUse = await store.getPages(tenant, keys);
      expect(inUse.map((bytes) => bytes?.length)).toEqual([300, 400]);
      await hasty.close();
    });

    it('tells which pages are there, and keeps none for that where it is not to', async () => {
      const tenant = newTenant();
      const hasty = await open({ ...roomy, unnamedSeconds: 0.5 });
      const [kept, unnamed, stranger] = [page(), page(), page()];
      await store.putPages(tenant, [kept]);
      await hasty.putPages(tenant, [unnamed]);
      await store.missing(tenant, [unnamed.key], { refresh: false });
      const missing = await store.missing(tenant, [kept.key, stranger.key], { refresh: false });
      expect(missing).toEqual(new Set([stranger.key]));
      const left = async () => {
        await hasty.collect();
        return store.getPages(tenant, [unnamed.key]);
      };
      await expect.poll(left).toEqual([null]);
      await hasty.close();
    });

    it('collects pages of manifests that were replaced or forgotten', async () => {
      const tenant = newTenant();
      const hasty = await open({ ...roomy, unnamedSeconds: 0.1 });
      const shared = page(300);
      await hasty.putPages(tenant, [shared]);
      const old: string[] = [];
      let version: string | null = null;
      for (let round = 0; round < 5; round++) {
        const own = page(200);
        // Pages that are old may be collected before the manifest comes, on a slow machine.
        await expect
          .poll(async () => {
            await hasty.putPages(tenant, [shared, own]);
            version = await hasty.putManifest(tenant, 's', manifestOf([shared, own]), version);
            return version;
          })
          .not.toBeNull();
        old.push(own.key);
      }
      const last = String(old.pop());
      const left = async (keys: readonly string[]) => {
        await hasty.collect();
        return (await store.getPages(tenant, keys)).map((bytes) => bytes?.length);
      };
      await expect
        .poll(() => left([...old, shared.key, last]))
        .toEqual([...old.map(() => undefined), 300, 200]);
      await hasty.delete(tenant, 's');
      await expect.poll(() => left([shared.key, last])).toEqual([undefined, undefined]);
      await hasty.close();
    });

    it('keeps what was just stored below the memory bound, though it alone is more than anybody else has', async () => {
      const used = await Promise.all(known.map((tenant) => store.usage(tenant)));
      const before = used.reduce((sum, { bytes }) => sum + bytes, 0);
      const tight = await open({ ...roomy, totalBytes: before + 60_000 });
      const [small, large] = [newTenant(), newTenant()];
      await put(store, small, 'a', [20_000]);
      await put(store, small, 'b', [20_000]);
      await put(tight, large, 's', [50_000]);
      expect(await store.getManifest(large, 's')).not.toBeNull();
      const after = await Promise.all(known.map((tenant) => store.usage(tenant)));
      expect(after.reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThanOrEqual(before + 60_000);
      await tight.close();
    });

    it('forgets what nobody continued in time, also of those who store no more', async () => {
      const [tenant, idle] = [newTenant(), newTenant()];
      await put(store, tenant, 'old', [10]);
      await put(store, idle, 'old', [10]);
      await new Promise((resolve) => setTimeout(resolve, 30));
      const hasty = await open({ ...roomy, ttlSeconds: 0.02 });
      await put(hasty, tenant, 'new', [10]);
      expect(await store.getManifest(tenant, 'old')).toBeNull();
      expect(await store.getManifest(idle, 'old')).toBeNull();
      expect(await store.usage(idle)).toEqual({ bytes: 0, sessions: 0 });
      await hasty.close();
    });

    it('has nothing of what nobody continued in time, which may be stored anew', async () => {
      const tenant = newTenant();
      const { pages, version } = await put(store, tenant, 's', [10]);
      await new Promise((resolve) => setTimeout(resolve, 30));
      const hasty = await open({ ...roomy, ttlSeconds: 0.02 });
      expect(await hasty.getManifest(tenant, 's')).toBeNull();
      expect(await hasty.putManifest(tenant, 's', manifestOf(pages), 'another')).toBeNull();
      expect(await store.putManifest(tenant, 's', manifestOf(pages), null)).toBeNull();
      expect((await store.getManifest(tenant, 's'))?.version).toBe(version);
      const renewed = await hasty.putManifest(tenant, 's', manifestOf(pages), null);
      expect(renewed).not.toBeNull();
      expect((await store.getManifest(tenant, 's'))?.version).toBe(renewed);
      expect((await store.getPages(tenant, [String(pages[0]?.key)]))[0]?.length).toBe(10);
      expect(await store.usage(tenant)).toEqual({ bytes: 60 + 2 * overhead, sessions: 1 });
      await hasty.close();
    });

    it('collects what nobody continued in time, though nobody stores anything, and nothing that is newer', async () => {
      const [tenant, other] = [newTenant(), newTenant()];
      const clock = vi.spyOn(Date, 'now').mockReturnValue(Date.now() - 600_000);
      const { keys } = await put(store, tenant, 'old', [10, 20]);
      // More than are looked at together.
      for (let i = 0; i < 70; i++) await put(store, other, `old-${i}`, []);
      clock.mockRestore();
      const kept = await put(store, tenant, 'new', [30]);
      const hasty = { ...roomy, ttlSeconds: 300, unnamedSeconds: 0.02 };
      const rivals = await Promise.all([open(hasty), open(hasty)]);
      const left = async () => {
        await Promise.all(rivals.map((rival) => rival.collect()));
        return store.getPages(tenant, keys);
      };
      await expect.poll(left).toEqual([null, null]);
      expect(await store.getManifest(tenant, 'old')).toBeNull();
      expect(await store.usage(other)).toEqual({ bytes: 0, sessions: 0 });
      expect(await store.usage(tenant)).toEqual({ bytes: 80 + 2 * overhead, sessions: 1 });
      expect((await store.getPages(tenant, kept.keys)).map((bytes) => bytes?.length)).toEqual([30]);
      await Promise.all(rivals.map((rival) => rival.close()));
    });

    it('never loses a page in use while others come and go', async () => {
      const tenant = newTenant();
      const shared = [page(300), page(400)];
      const sharedKeys = shared.map(({ key }) => key);
      await store.putPages(tenant, shared);
      expect(await store.putManifest(tenant, 'root', manifestOf(shared), null)).not.toBeNull();
      await Promise.all(
        Array.from({ length: 8 }, async (_, worker) => {
          let version: string | null = null;
          for (let round = 0; round < 6; round++) {
            const own = page(200);
            await store.putPages(tenant, [own]);
            version = await store.putManifest(tenant, `s${worker}`, manifestOf([...shared, own]), version);
            expect(version).not.toBeNull();
            expect(await store.missing(tenant, [...sharedKeys, own.key])).toEqual(new Set());
            if (round % 3 === 2) {
              await store.delete(tenant, `s${worker}`);
              version = null;
            }
          }
        }),
      );
      expect(await store.missing(tenant, sharedKeys)).toEqual(new Set());
      expect((await store.usage(tenant)).sessions).toBe(1);
    });
  });
}
