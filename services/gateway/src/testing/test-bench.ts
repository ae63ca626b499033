import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { ApiKeys } from '@baton/keys';
import { TokenLog } from '@baton/log';
import { GenerationConsumer, GenerationQueue } from '@baton/queue';
import type { SnapshotStore } from '@baton/snapshot';
import { startTestServers, type TestServers } from '@baton/testing';
import OpenAI from 'openai';
import { Documents } from '../documents.ts';
import type { GatewaySettings } from '../gateway.ts';
import { type RateLimitSettings, RateLimits } from '../limits/rate-limits.ts';
import { loadServedModel, type ServedModel } from '../served-model.ts';
import { createGatewayServer, type GatewayServer } from '../server.ts';
import { modelDir } from './log-script.ts';
import { answer, type Script } from './scripts.ts';

export interface RunningGateway {
  readonly url: string;
  readonly server: GatewayServer;
  readonly client: OpenAI;
}

/** Gateways over real Redis and NATS, with a consumer in place of a worker that writes what `script` says. */
export class TestBench {
  readonly servers: TestServers;
  readonly model: ServedModel;
  readonly log: TokenLog;
  readonly queue: GenerationQueue;
  readonly keys: ApiKeys;
  readonly documents: Documents;
  /** How jobs run from now on. */
  script: Script = answer;
  #consumer: GenerationConsumer | null = null;
  readonly #gateways: GatewayServer[] = [];
  readonly #limits: RateLimits[] = [];

  private constructor(
    servers: TestServers,
    model: ServedModel,
    log: TokenLog,
    queue: GenerationQueue,
    documents: Documents,
    keys: ApiKeys,
  ) {
    this.documents = documents;
    this.servers = servers;
    this.model = model;
    this.log = log;
    this.queue = queue;
    this.keys = keys;
  }

  /** The model is a small one; `chatTemplate` goes in place of its own. */
  static async start({ chatTemplate }: { readonly chatTemplate?: string } = {}): Promise<TestBench> {
    const servers = await startTestServers();
    const bench = new TestBench(
      servers,
      chatTemplate === undefined ? await loadServedModel(modelDir) : await modelWithTemplate(chatTemplate),
      await TokenLog.open(servers.nats.url),
      await GenerationQueue.open(servers.redis.url),
      await Documents.open(servers.redis.url, { ttlMs: 3_600_000 }),
      await ApiKeys.open(servers.redis.url),
    );
    await bench.startConsumer();
    return bench;
  }

  async startGateway(
    settings: Partial<GatewaySettings> = {},
    {
      withKeys = false,
      limits,
      snapshots,
    }: {
      readonly withKeys?: boolean;
      readonly limits?: RateLimitSettings;
      readonly snapshots?: SnapshotStore;
    } = {},
  ): Promise<RunningGateway> {
    const { model, log, queue, documents } = this;
    const rateLimits = limits ? await RateLimits.open(this.servers.redis.url, limits) : null;
    if (rateLimits) this.#limits.push(rateLimits);
    const server = await createGatewayServer({
      model,
      log,
      queue,
      documents,
      keys: withKeys ? this.keys : null,
      rateLimits,
      ...(snapshots && { snapshots }),
      settings: { disconnectGraceMs: 50, ...settings },
    });
    this.#gateways.push(server);
    const url = await server.app.listen({ host: '127.0.0.1', port: 0 });
    return { url, server, client: new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 }) };
  }

  async startConsumer(): Promise<void> {
    this.#consumer = await GenerationConsumer.start(
      this.servers.redis.url,
      async (job) => {
        const { writer } = await this.log.claim(job, 'scripted');
        if (writer) await this.script(job, writer, this.model.tokenizer);
      },
      { concurrency: 16, onGivenUp: async () => {} },
    );
  }

  async stopConsumer(): Promise<void> {
    await this.#consumer?.close();
    this.#consumer = null;
  }

  async stop(): Promise<void> {
    await Promise.all(this.#gateways.map((gateway) => gateway.stop(0)));
    await this.stopConsumer();
    this.documents.close();
    await Promise.all([this.queue.close(), this.log.close(), this.keys.close()]);
    await Promise.all(this.#limits.map((limits) => limits.close()));
    await this.servers.stop();
  }
}

async function modelWithTemplate(chatTemplate: string): Promise<ServedModel> {
  const dir = await mkdtemp(join(tmpdir(), 'baton-model-'));
  try {
    await cp(modelDir, dir, { recursive: true, filter: (file) => !file.endsWith('.safetensors') });
    await writeFile(join(dir, 'chat_template.jinja'), chatTemplate);
    return await loadServedModel(dir, basename(modelDir));
  } finally {
    await rm(dir, { recursive: true });
  }
}
