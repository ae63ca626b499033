import { mkdir, mkdtemp, readdir, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  CheckpointError,
  ConfigurationError,
  DependencyError,
  NotFoundError,
  OverloadedError,
} from '@baton/errors';
import { type HubServerOptions, startHubServer } from '@baton/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hashOf } from './hub-file.ts';
import { type PullEvent, pullModel } from './index.ts';

const golden = new URL('../../../testing/fixtures/golden/shared-pairs/', import.meta.url).pathname;
const repo = 'nvidia/Hymba-tiny';
const weights = /model\.safetensors$|xet-bridge/;

describe('pullModel', () => {
  let root: string;
  let source: string;
  let destination: string;

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'baton-pull-'));
    source = join(root, 'repository');
    destination = join(root, 'models', 'tiny');
    await mkdir(join(source, 'onnx'), { recursive: true });
    for (const name of ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'model.safetensors']) {
      await writeFile(join(source, name), await readFile(join(golden, name)));
    }
    await writeFile(join(source, 'LICENSE'), 'the licence');
    await writeFile(join(source, 'NOTICE'), '');
    await writeFile(join(source, 'pytorch_model.bin'), 'not wanted');
    await writeFile(join(source, '.gitattributes'), '*.safetensors filter=lfs');
  });
  afterEach(() => rm(root, { recursive: true }));

  const wanted = [
    'LICENSE',
    'NOTICE',
    'config.json',
    'model.safetensors',
    'tokenizer.json',
    'tokenizer_config.json',
  ];
  const serve = (options: Partial<HubServerOptions> = {}) =>
    startHubServer({ repositories: { [repo]: source }, ...options });

  async function expectComplete(): Promise<void> {
    expect((await readdir(destination)).toSorted()).toEqual(wanted);
    for (const name of wanted) {
      expect(await readFile(join(destination, name)), name).toEqual(await readFile(join(source, name)));
    }
  }

  it('downloads what Baton needs and nothing else', async () => {
    await using hub = await serve();
    const events: PullEvent[] = [];
    const model = await pullModel(repo, destination, {
      endpoint: `${hub.endpoint}/`,
      onProgress: (event) => events.push(event),
    });
    await expectComplete();
    expect(model.folder).toBe(destination);
    expect(model.revision).toMatch(/^[0-9a-f]{40}$/);
    expect(events[0]).toEqual({ kind: 'listed', revision: model.revision, files: 6, bytes: model.bytes });
    expect(events.at(-1)).toMatchObject({ kind: 'done', file: 'model.safetensors', bytes: model.bytes });
    const positions = events.flatMap((event) => ('fileBytes' in event ? [event.bytes] : []));
    expect(positions).toEqual(positions.toSorted((a, b) => a - b));
  });

  it('fetches nothing again that is there and whole, and mends what is not', async () => {
    await using hub = await serve();
    await pullModel(repo, destination, { endpoint: hub.endpoint });
    hub.requests.length = 0;
    await pullModel(repo, destination, { endpoint: hub.endpoint });
    expect(hub.requests.filter(({ path }) => !path.startsWith('/api/'))).toEqual([]);

    const local = join(destination, 'tokenizer.json');
    const damaged = await readFile(local);
    damaged.writeUInt8(damaged.readUInt8(100) ^ 1, 100);
    await writeFile(local, damaged);
    await pullModel(repo, destination, { endpoint: hub.endpoint });
    await expectComplete();
  });

  it('replaces a file that has a newer version', async () => {
    {
      await using hub = await serve();
      await pullModel(repo, destination, { endpoint: hub.endpoint });
    }
    await writeFile(join(source, 'tokenizer_config.json'), '{}');
    await using hub = await serve();
    await pullModel(repo, destination, { endpoint: hub.endpoint });
    await expectComplete();
  });

  it('goes on where the connection broke', async () => {
    await using hub = await serve();
    hub.faults.push({ path: /xet-bridge/, kind: 'break', after: 500_000 });
    const events: PullEvent[] = [];
    await pullModel(repo, destination, { endpoint: hub.endpoint, onProgress: (event) => events.push(event) });
    await expectComplete();
    const ranges = hub.requests.filter(({ storage }) => storage);
    expect(ranges[0]?.range).toBe('bytes=0-');
    const second = Number(/^bytes=(\d+)-$/.exec(ranges[1]?.range ?? '')?.[1]);
    expect(second).toBeGreaterThan(0);
    expect(second).toBeLessThanOrEqual(500_000);
    expect(events).toContainEqual(expect.objectContaining({ kind: 'retry', file: 'model.safetensors' }));
  });

  it('goes on from what an earlier, killed pull left', async () => {
    await using hub = await serve();
    await pullModel(repo, destination, { endpoint: hub.endpoint });
    const file = join(destination, 'model.safetensors');
    const hash = hub.requests
      .findLast(({ storage }) => storage)
      ?.path.split('/')
      .at(-1);
    const whole = await readFile(file);
    await rm(file);
    await writeFile(`${file}.${hash}.partial`, whole.subarray(0, 1_000_000));
    await writeFile(`${file}.${'0'.repeat(64)}.partial`, 'of an older version');
    hub.requests.length = 0;
    await pullModel(repo, destination, { endpoint: hub.endpoint });
    await expectComplete();
    expect(hub.requests.at(-1)?.range).toBe('bytes=1000000-');
  });

  it('survives a server that ignores ranges', async () => {
    await using hub = await serve();
    hub.faults.push({ path: /xet-bridge/, kind: 'break', after: 500_000 });
    // The client probes each file with one byte before the download proper; the first fault of these meets the probe.
    hub.faults.push(
      { path: /xet-bridge/, kind: 'break', after: 1 },
      { path: /xet-bridge/, kind: 'ignore-range' },
    );
    await pullModel(repo, destination, { endpoint: hub.endpoint });
    await expectComplete();
    expect(hub.faults).toEqual([]);
  });

  it.each([
    ['weights', 'model.safetensors', /xet-bridge/, 'sha256'],
    ['a small file', 'config.json', /\/config\.json$/, 'sha1'],
  ])('refuses %s that arrived damaged, and leaves no trace of it', async (_, name, path, algorithm) => {
    await using hub = await serve();
    hub.faults.push({ path, kind: 'corrupt' });
    const error = await pullModel(repo, destination, { endpoint: hub.endpoint }).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error).toMatchObject({ code: 'invalid_checkpoint', file: name });
    expect(String(error)).toContain(algorithm);
    expect((await readdir(destination)).filter((file) => file.startsWith(name))).toEqual([]);
    await pullModel(repo, destination, { endpoint: hub.endpoint });
    await expectComplete();
  });

  it('refuses a partial file of the right size and the wrong content', async () => {
    await using hub = await serve();
    await pullModel(repo, destination, { endpoint: hub.endpoint });
    const file = join(destination, 'model.safetensors');
    const hash = hub.requests
      .findLast(({ storage }) => storage)
      ?.path.split('/')
      .at(-1);
    const size = (await readFile(file)).byteLength;
    await rm(file);
    await writeFile(`${file}.${hash}.partial`, '');
    await truncate(`${file}.${hash}.partial`, size);
    await expect(pullModel(repo, destination, { endpoint: hub.endpoint })).rejects.toThrow(CheckpointError);
    await pullModel(repo, destination, { endpoint: hub.endpoint });
    await expectComplete();
  });

  it('lets pulls of one destination take turns', async () => {
    await using hub = await serve();
    const events: PullEvent[] = [];
    const options = { endpoint: hub.endpoint, onProgress: (event: PullEvent) => events.push(event) };
    await Promise.all([
      pullModel(repo, destination, options),
      pullModel(repo, destination, options),
      pullModel(repo, destination, options),
    ]);
    await expectComplete();
    expect(events.filter(({ kind }) => kind === 'waiting')).toHaveLength(2);
    expect(hub.requests.filter(({ storage, range }) => storage && range === 'bytes=0-')).toHaveLength(1);
  });

  it('waits as long as a rate limit asks, and tries again after server errors', async () => {
    await using hub = await serve();
    hub.faults.push({ path: /^\/api/, kind: 'status', status: 500 });
    hub.faults.push({
      path: /\/config\.json$/,
      kind: 'status',
      status: 429,
      headers: { 'retry-after': '1' },
    });
    hub.faults.push({ path: weights, kind: 'status', status: 502 });
    const reasons: string[] = [];
    await pullModel(repo, destination, {
      endpoint: hub.endpoint,
      onProgress: (event) => event.kind === 'retry' && reasons.push(event.reason),
    });
    await expectComplete();
    expect(reasons).toEqual([
      expect.stringContaining('answered 500'),
      expect.stringContaining('limits how much'),
      expect.stringContaining('answered 502'),
    ]);
  });

  it('does not wait for a rate limit of an hour', async () => {
    await using hub = await serve();
    hub.faults.push({ path: /^\/api/, kind: 'status', status: 429, headers: { 'retry-after': '3600' } });
    const error = await pullModel(repo, destination, { endpoint: hub.endpoint }).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(OverloadedError);
    expect(error).toMatchObject({ retryAfterMs: 3_600_000, message: expect.stringContaining('HF_TOKEN') });
  });

  it('sends the token to the hub and not to the storage behind it', async () => {
    await using hub = await serve({ token: 'hf_right' });
    await pullModel(repo, destination, { endpoint: hub.endpoint, token: 'hf_right' });
    await expectComplete();
    for (const { storage, authorization, path } of hub.requests) {
      expect(authorization, path).toBe(storage ? undefined : 'Bearer hf_right');
    }
  });

  it.each([
    ['a private model without a token', { token: 'hf_right' }, {}, ConfigurationError, 'set HF_TOKEN'],
    [
      'a private model with a wrong token',
      { token: 'hf_right' },
      { token: 'hf_wrong' },
      NotFoundError,
      'check the name',
    ],
    ['a gated model without a token', { gated: true }, {}, ConfigurationError, 'accept its terms at'],
    [
      'a gated model with a token',
      { gated: true },
      { token: 'hf_any' },
      ConfigurationError,
      'accept its terms at',
    ],
    ['a revision that is not there', {}, { revision: 'v9' }, NotFoundError, 'no revision v9'],
    ['a token of another kind', {}, { token: 'sk-1' }, ConfigurationError, 'starts with hf_'],
  ])('says what to do about %s', async (_, server, options, type, advice) => {
    await using hub = await serve(server);
    const error = await pullModel(repo, destination, { endpoint: hub.endpoint, ...options }).catch(
      (e: unknown) => e,
    );
    expect(error).toBeInstanceOf(type);
    expect(String(error)).toContain(advice);
  });

  it('says what to do about a refused token', async () => {
    await using hub = await serve();
    hub.faults.push({ path: /^\/api/, kind: 'status', status: 401 });
    await expect(pullModel(repo, destination, { endpoint: hub.endpoint, token: 'hf_old' })).rejects.toThrow(
      'refused HF_TOKEN',
    );
  });

  it.each(['Hymba', '../etc/passwd', 'a/b/c', 'https://huggingface.co/nvidia/Hymba-1.5B-Base'])(
    'refuses %s as the name of a model',
    async (name) => {
      await expect(pullModel(name, destination)).rejects.toThrow(ConfigurationError);
    },
  );

  it('refuses an endpoint that is not a URL', async () => {
    await expect(pullModel(repo, destination, { endpoint: 'huggingface.co' })).rejects.toThrow('HF_ENDPOINT');
  });

  it('says which hub cannot be reached', async () => {
    const hub = await serve();
    await hub[Symbol.asyncDispose]();
    const error = await pullModel(repo, destination, { endpoint: hub.endpoint }).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(DependencyError);
    expect(String(error)).toContain(`no connection to ${new URL(hub.endpoint).host} (ECONNREFUSED)`);
  });

  it('says that an address is no hub', async () => {
    await using hub = await serve();
    hub.faults.push(...Array(3).fill({ path: /^\/api/, kind: 'status', status: 200 }));
    await expect(pullModel(repo, destination, { endpoint: hub.endpoint })).rejects.toThrow(
      'check HF_ENDPOINT',
    );
  });

  it('refuses a repository without safetensors before it downloads anything', async () => {
    await rm(join(source, 'model.safetensors'));
    await using hub = await serve();
    await expect(pullModel(repo, destination, { endpoint: hub.endpoint })).rejects.toThrow(
      'no *.safetensors',
    );
    expect(await readdir(destination)).toEqual([]);
  });

  it('refuses a model that is not Hymba before it downloads the weights', async () => {
    await writeFile(join(source, 'config.json'), '{"model_type":"llama"}');
    await using hub = await serve();
    await expect(pullModel(repo, destination, { endpoint: hub.endpoint })).rejects.toThrow(CheckpointError);
    expect(hub.requests.filter(({ storage }) => storage)).toEqual([]);
  });

  it('says that the disk is full, and which file did not fit', async () => {
    await using hub = await serve();
    await mkdir(destination, { recursive: true });
    const local = join(source, 'config.json');
    const { byteLength: size } = await readFile(local);
    const hash = await hashOf(local, { path: 'config.json', size, hash: { algorithm: 'sha1', hex: '' } });
    await symlink('/dev/full', join(destination, `config.json.${hash}.partial`));
    const error = await pullModel(repo, destination, { endpoint: hub.endpoint }).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(String(error)).toMatch(/no space left for .*config\.json/);
  });

  it('refuses a model that will not fit before it downloads anything', async () => {
    await using hub = await serve({ claimedSizes: { 'model.safetensors': 1e18 } });
    await expect(pullModel(repo, destination, { endpoint: hub.endpoint })).rejects.toThrow(
      /needs 1000000000.0 GB/,
    );
    expect(await readdir(destination)).toEqual([]);
  });

  it('refuses a destination that is a file', async () => {
    await using hub = await serve();
    await writeFile(join(root, 'models'), '');
    await expect(pullModel(repo, destination, { endpoint: hub.endpoint })).rejects.toThrow('not a folder');
  });
});
