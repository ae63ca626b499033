import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink } from 'node:fs/promises';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startHubServer } from '@baton/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runBaton } from '../run-baton.ts';

const golden = fileURLToPath(new URL('../../../../packages/testing/fixtures/golden/', import.meta.url));
const repositories = { 'nvidia/Hymba-tiny': join(golden, 'shared-pairs') };

describe('baton pull', () => {
  let cwd: string;
  beforeEach(async () => {
    cwd = await mkdtemp(join(tmpdir(), 'baton-cli-'));
  });
  afterEach(() => rm(cwd, { recursive: true }));

  it('downloads into models/<name>, says how far it is, and what to do next', async () => {
    await using hub = await startHubServer({ repositories });
    const run = await runBaton(['pull', 'nvidia/Hymba-tiny'], cwd, { HF_ENDPOINT: hub.endpoint });
    expect(run.stderr).toMatch(/^nvidia\/Hymba-tiny at [0-9a-f]{12}: 5 files, 1.8 MB\n/);
    expect(run.stderr).toMatch(/100 % 1.8 MB of 1.8 MB \| model.safetensors\n$/);
    expect(run.stdout).toBe(
      'nvidia/Hymba-tiny is in models/Hymba-tiny. Serve it with: BATON_MODEL=models/Hymba-tiny npm start\n',
    );
    expect(run.code).toBe(0);
    expect(await readdir(join(cwd, 'models', 'Hymba-tiny'))).toContain('model.safetensors');
  });

  it('takes a folder and a revision, and sends HF_TOKEN', async () => {
    await using hub = await startHubServer({ repositories, token: 'hf_secret' });
    const env = { HF_ENDPOINT: hub.endpoint, HF_TOKEN: 'hf_secret' };
    const run = await runBaton(['pull', 'nvidia/Hymba-tiny', 'here', '--revision', 'main'], cwd, env);
    expect(run).toMatchObject({ code: 0, stdout: expect.stringContaining('BATON_MODEL=here') });
    expect(await readdir(join(cwd, 'here'))).toContain('config.json');
    expect(run.stdout + run.stderr).not.toContain('hf_secret');
  });

  it('names each second attempt', async () => {
    await using hub = await startHubServer({ repositories });
    hub.faults.push({ path: /xet-bridge/, kind: 'break', after: 100_000 });
    const run = await runBaton(['pull', 'nvidia/Hymba-tiny'], cwd, { HF_ENDPOINT: hub.endpoint });
    expect(run.stderr).toContain('Trying again: ');
    expect(run.code).toBe(0);
  });

  it('ends in the middle of a file when the disk is full', async () => {
    await using hub = await startHubServer({ repositories });
    const weights = await readFile(join(golden, 'shared-pairs', 'model.safetensors'));
    const sha256 = createHash('sha256').update(weights).digest('hex');
    await mkdir(join(cwd, 'here'));
    await symlink('/dev/full', join(cwd, 'here', `model.safetensors.${sha256}.partial`));
    const run = await runBaton(['pull', 'nvidia/Hymba-tiny', 'here'], cwd, { HF_ENDPOINT: hub.endpoint });
    expect(run.code).toBe(1);
    expect(run.stderr).toMatch(/\nbaton: no space left for .*model\.safetensors.*\n$/);
  });

  it('goes through HTTP_PROXY', async () => {
    await using hub = await startHubServer({ repositories });
    const tunnels: string[] = [];
    const proxy = createServer().on('connect', (request, client) => {
      tunnels.push(request.url ?? '');
      const upstream = connect(Number(request.url?.split(':')[1]), '127.0.0.1', () => {
        client.write('HTTP/1.1 200 Connection established\r\n\r\n');
        client.pipe(upstream).pipe(client);
      });
      for (const socket of [client, upstream]) socket.on('error', () => socket.destroy());
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    try {
      const run = await runBaton(['pull', 'nvidia/Hymba-tiny'], cwd, {
        HF_ENDPOINT: hub.endpoint,
        HTTP_PROXY: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
      });
      expect(run).toMatchObject({ code: 0 });
      expect(tunnels).toContain(new URL(hub.endpoint).host);
    } finally {
      proxy.close();
    }
  });

  it.each([
    ['a model that is not there', ['pull', 'nvidia/Llama'], {}, 'set HF_TOKEN'],
    ['a name that is none', ['pull', 'Hymba'], {}, 'write owner/name'],
    ['a token of another kind', ['pull', 'nvidia/Hymba-tiny'], { HF_TOKEN: 'sk-1' }, 'HF_TOKEN must be'],
    ['a revision that is not there', ['pull', 'nvidia/Hymba-tiny', '--revision', 'v9'], {}, 'no revision v9'],
    ['a missing argument', ['pull'], {}, "missing required argument 'model'"],
  ])('answers %s with one line that says what to do, and exit code 1', async (_, args, env, advice) => {
    await using hub = await startHubServer({ repositories });
    const run = await runBaton(args, cwd, { HF_ENDPOINT: hub.endpoint, ...env });
    expect(run.code).toBe(1);
    expect(run.stdout).toBe('');
    expect(run.stderr).toContain(advice);
    expect(run.stderr.trimEnd().split('\n')).toHaveLength(1);
  });
});
