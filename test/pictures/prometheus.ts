import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../support/processes.ts';

/** One line of a panel: its labels, and pairs of seconds since the Unix epoch and values. */
export interface Series {
  readonly metric: Readonly<Record<string, string>>;
  readonly values: readonly (readonly [number, string])[];
}

/** A page to read, and the labels that its samples get. */
export interface Page {
  readonly address: string;
  readonly job: string;
  readonly instance: string;
}

/** A Prometheus of its own (Debian's package `prometheus`) that reads pages every second. */
export class Prometheus {
  readonly #url: string;
  readonly #pagesFile: string;
  readonly #stop: () => Promise<void>;

  private constructor(url: string, pagesFile: string, stop: () => Promise<void>) {
    this.#url = url;
    this.#pagesFile = pagesFile;
    this.#stop = stop;
  }

  static async start(): Promise<Prometheus> {
    const folder = await mkdtemp(join(tmpdir(), 'baton-prometheus-'));
    const pagesFile = join(folder, 'pages.json');
    const config = {
      global: { scrape_interval: '1s', scrape_timeout: '1s' },
      scrape_configs: [
        { job_name: 'baton', file_sd_configs: [{ files: [pagesFile], refresh_interval: '1s' }] },
      ],
    };
    // YAML takes JSON.
    await writeFile(join(folder, 'prometheus.yml'), JSON.stringify(config));
    await writeFile(pagesFile, '[]');
    const port = await freePort();
    const child = spawn(
      'prometheus',
      [
        `--config.file=${join(folder, 'prometheus.yml')}`,
        `--storage.tsdb.path=${join(folder, 'data')}`,
        `--web.listen-address=127.0.0.1:${port}`,
      ],
      { stdio: 'ignore' },
    );
    const exit = once(child, 'exit');
    const url = `http://127.0.0.1:${port}`;
    while (!(await fetch(`${url}/-/ready`).catch(() => null))?.ok) await sleep(100);
    return new Prometheus(url, pagesFile, async () => {
      child.kill();
      await exit;
      await rm(folder, { recursive: true });
    });
  }

  async read(pages: readonly Page[]): Promise<void> {
    const groups = pages.map(({ address, job, instance }) => ({
      targets: [address],
      labels: { job, instance },
    }));
    await writeFile(this.#pagesFile, JSON.stringify(groups));
  }

  /** An expression over time; seconds since the Unix epoch. */
  async query(expr: string, start: number, end: number, step: number): Promise<Series[]> {
    const parameters = { query: expr, start: String(start), end: String(end), step: String(step) };
    const answer = await fetch(`${this.#url}/api/v1/query_range?${new URLSearchParams(parameters)}`);
    const { status, error, data } = (await answer.json()) as {
      status: string;
      error?: string;
      data?: { result: Series[] };
    };
    if (status !== 'success' || !data) throw new Error(`${expr}: ${error}`);
    return data.result;
  }

  stop(): Promise<void> {
    return this.#stop();
  }
}
