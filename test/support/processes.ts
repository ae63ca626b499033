import { type ChildProcess, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';

const root = new URL('../../', import.meta.url);

/** A service in a process of its own, with what it wrote. Killed with its test. */
export class ServiceProcess {
  readonly child: ChildProcess;
  readonly name: string;
  output = '';
  /** Where its page for Prometheus is, if it has one. */
  readonly metricsAddress: string;

  /** The worker's id, where that is what it is. */
  readonly id: string;

  constructor(name: 'gateway' | 'worker', env: Record<string, string>) {
    this.name = name;
    this.id = env['BATON_WORKER_ID'] ?? name;
    this.metricsAddress = `127.0.0.1:${env['OTEL_EXPORTER_PROMETHEUS_PORT']}`;
    this.child = spawn(process.execPath, [fileURLToPath(new URL(`services/${name}/src/main.ts`, root))], {
      env: { PATH: process.env['PATH'] ?? '', ...env },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.output += text;
      });
    }
  }

  /** Resolves when the process reports over IPC that it is ready; rejects with its output when it ends first. */
  async ready(): Promise<this> {
    await new Promise<void>((resolve, reject) => {
      this.child.on('message', (message) => {
        if (message === 'ready') resolve();
      });
      this.child.once('exit', (code, signal) => {
        reject(new Error(`${this.name} ended (${code ?? signal}) before it was ready:\n${this.output}`));
      });
    });
    return this;
  }

  /** Its page for Prometheus, as text. */
  async metrics(): Promise<string> {
    const page = await fetch(`http://${this.metricsAddress}/metrics`);
    return page.text();
  }

  get alive(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  async end(signal: NodeJS.Signals): Promise<number | null> {
    if (!this.alive) return this.child.exitCode;
    const exit = once(this.child, 'exit');
    this.child.kill(signal);
    await exit;
    return this.child.exitCode;
  }
}

/**
 * A port nobody listens on at this moment. It is none of those that systems give to connections: one of these may have it
 * before it is listened on.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(16_000, 32_000);
    const server = createServer().listen(port, '127.0.0.1');
    try {
      await once(server, 'listening');
      return port;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    } finally {
      await new Promise((closed) => server.close(closed));
    }
  }
}
