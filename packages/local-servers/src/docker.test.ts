import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { findServer, startRedis } from './index.ts';

/** Stands in for a Docker engine: notes each call, and runs the server of `docker run` on the published port. */
const dockerScript = (server: string) => `#!/bin/sh
folder=$(dirname "$0")
echo "$*" >>"$folder/calls"
case $1 in
  run)
    for arg; do case $arg in
      --publish=*) port=\${arg#--publish=127.0.0.1:}; port=\${port%%:*} ;;
      --volume=*) data=\${arg#--volume=}; data=\${data%:/data} ;;
    esac; done
    echo $$ >"$folder/pid"
    exec ${server} --port "$port" --dir "$data" --bind 127.0.0.1 ;;
  kill) kill -s "\${3#SIG}" "$(cat "$folder/pid")" ;;
esac
`;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'baton-docker-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

it('runs the server in a container where nothing else can provide it', async () => {
  const installed = await findServer('redis-server');
  if (installed.kind !== 'program') throw new Error('this test needs an installed redis-server');
  writeFileSync(join(folder, 'docker'), dockerScript(installed.path));
  chmodSync(join(folder, 'docker'), 0o755);

  const said: string[] = [];
  const dataDir = join(folder, 'data');
  const server = await startRedis({ dataDir, folders: [folder], say: (line) => said.push(line) });
  await server.stop();

  expect(said).toEqual([expect.stringContaining('Docker')]);
  const calls = readFileSync(join(folder, 'calls'), 'utf8').trimEnd().split('\n');
  const container = /--name=(\S+)/.exec(calls.join('\n'))?.[1];
  expect(calls.map((call) => call.split(' ')[0])).toEqual(['version', 'rm', 'run', 'kill', 'kill']);
  expect(calls[1]).toBe(`rm -f ${container}`);
  expect(calls[2]).toContain(`--publish=127.0.0.1:${server.port}:6379 --volume=${dataDir}:/data`);
  expect(calls[2]).toMatch(/redis:\S+ redis-server --bind 0\.0\.0\.0 --port 6379 --dir \/data /);
  expect(calls[3]).toBe(`kill --signal SIGTERM ${container}`);
});
