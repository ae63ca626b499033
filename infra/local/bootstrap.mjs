// First step of what users run through npm (`npm start`, `npm test`, `npm run baton` …): installs the npm packages when
// they are missing or out of date, then goes on under the pinned Node. Plain JavaScript without dependencies, since any
// Node from 20 on runs it.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { constants } from 'node:os';
import { delimiter, join, resolve } from 'node:path';

const root = resolve(import.meta.dirname ?? new URL('.', import.meta.url).pathname, '../..');
const tools = join(root, 'node_modules', '.bin');
const cli = 'services/cli/src/main.ts';
/** What each verb runs. The command line takes paths from where its user stands; the others work in the project. */
const programs = {
  start: { args: [cli, 'start'], cwd: root },
  test: { args: ['infra/local/test.ts'], cwd: root },
  'test:chaos': { args: ['test/fault/chaos.ts'], cwd: root },
  cli: { args: [cli], cwd: process.env.INIT_CWD ?? process.cwd() },
  'bench:engine': { args: ['test/bench/engine/main.ts'], cwd: root },
  'bench:gateway': { args: ['test/bench/gateway/main.ts'], cwd: root },
  'bench:sessions': { args: ['test/bench/sessions/main.ts'], cwd: root },
  'bench:gpu': { args: ['test/bench/gpu/main.ts'], cwd: root },
  'bench:telemetry': { args: ['test/bench/telemetry/main.ts'], cwd: root },
};

const [verb, ...rest] = process.argv.slice(2);
const program = programs[verb];
if (!program) fail(`usage: node infra/local/bootstrap.mjs ${Object.keys(programs).join('|')} [arguments]`);

if (!isInstalled()) await install();
const [script, ...args] = program.args;
process.exitCode = await run(findNode(), [join(root, script), ...args, ...rest], {
  cwd: program.cwd,
  env: { ...process.env, PATH: [tools, process.env.PATH].join(delimiter) },
});

/** npm writes `node_modules/.package-lock.json` last, so it is missing after an installation that broke off. */
function isInstalled() {
  const installed = join(root, 'node_modules', '.package-lock.json');
  // A plain `npm install` writes both files at almost the same time, in either order.
  const toleranceMs = 2000;
  return (
    existsSync(installed) &&
    statSync(installed).mtimeMs + toleranceMs >= statSync(join(root, 'package-lock.json')).mtimeMs
  );
}

async function install() {
  say('Installing npm packages (about a minute, only when they change) …');
  // While npm replaces node_modules, neither it nor its scripts may run on the Node in there.
  const path = (process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== tools);
  const code = await run('npm', ['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: root,
    env: { ...process.env, PATH: path.join(delimiter) },
  });
  if (code === 0) return say('npm packages are installed.');
  fail(
    `"npm ci" failed (exit code ${code}, reason above). Check that the npm registry can be reached and that the disk has 2 GB free, then run the same command again.`,
    code,
  );
}

/** The pinned Node that npm installed; on a platform it has none for, the running one if that is new enough. */
function findNode() {
  const pinned = join(root, 'node_modules', 'node', 'bin', 'node');
  if (spawnSync(pinned, ['--version']).status === 0) return pinned;
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > 24 || (major === 24 && minor >= 12)) return process.execPath;
  return fail(
    `Baton needs Node 24.12 or later; this is ${process.version}, and npm's package "node" has none that runs here. Install Node 24 from https://nodejs.org, then run the same command again.`,
  );
}

/** Runs a program to its end, passes signals on to it, and ends it when our own parent vanishes. */
function run(command, commandArgs, options) {
  return new Promise((done) => {
    const child = spawn(command, commandArgs, { ...options, stdio: 'inherit' });
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
    const forward = (signal) => child.kill(signal);
    for (const signal of signals) process.on(signal, forward);
    const parent = process.ppid;
    const watch = setInterval(() => process.ppid !== parent && child.kill('SIGTERM'), 1000);
    const end = (code) => {
      for (const signal of signals) process.off(signal, forward);
      clearInterval(watch);
      done(code);
    };
    child.once('error', (error) => {
      say(`${command} cannot be run: ${error.message}`);
      end(127);
    });
    child.once('exit', (code, signal) => end(code ?? 128 + constants.signals[signal]));
  });
}

function say(line) {
  process.stderr.write(`${line}\n`);
}

function fail(line, code = 1) {
  say(line);
  process.exit(code);
}
