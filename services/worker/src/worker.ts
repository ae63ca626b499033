import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Engine, EngineOutput } from '@baton/engine';
import type { BatonError } from '@baton/errors';
import { FleetWatch, Heartbeat, serveCommands } from '@baton/fleet';
import { TokenLog, type TokenLogSettings } from '@baton/log';
import type { GenerationJob, WorkerCommand, WorkerStatus } from '@baton/protocol';
import { GenerationConsumer, GenerationQueue } from '@baton/queue';
import { openSnapshots, type SnapshotSettings } from '@baton/snapshot';
import type { Logger } from 'pino';
import { whyUnfit } from './fit.ts';
import { LogLines } from './log-lines.ts';
import { type Answer, dismissed, done, Moves, type Running } from './moves.ts';
import { observeWorker, recordFailure, recordSave } from './record.ts';
import { type GenerationContext, runGeneration } from './run-generation.ts';
import type { Standby } from './standby.ts';
import { SessionStates } from './states/session-states.ts';

export interface WorkerOptions {
  readonly workerId: string;
  readonly redisUrl: string;
  readonly natsUrl: string;
  /** What it runs, as shown to operators. */
  readonly modelName: string;
  readonly log: Partial<TokenLogSettings>;
  readonly snapshots: Pick<SnapshotSettings, 'storeUrl' | 'limits' | 'tier' | 'keys'>;
  /** Tokens between two snapshots. */
  readonly snapshotTokens: number;
  readonly warmBytes: number;
  readonly maxClaims: number;
  /** How long handing everything over may take. */
  readonly drainMs: number;
  readonly logger: Logger;
  /** Bytes of the states of what the engine runs now. */
  readonly stateBytes: () => number;
  /** Called when it has been told to drain, and has. */
  readonly onDrained: () => void;
}

/** How often what runs is told anew, beside each beginning and end. */
const statusMs = 250;
/**
 * A worker that does not hear its own heartbeat for so long takes no jobs, for it could not claim them: sooner than others
 * find it silent and take back what it has.
 */
const deafMs = 250;
const deafCheckMs = 50;

/**
 * A worker: takes generations from the queue, runs them on an engine, tells the fleet how it is, and looks after what other
 * workers lose. States: see `workerStates`.
 */
export class Worker {
  readonly #engine: Engine;
  readonly #options: WorkerOptions;
  readonly #process = randomUUID();
  readonly #log: TokenLog;
  readonly #states: SessionStates;
  readonly #queue: GenerationQueue;
  readonly #heartbeat: Heartbeat;
  readonly #watch: FleetWatch;
  readonly #stopCommands: () => void;
  readonly #running = new Map<string, Running>();
  readonly #moves: Moves;
  readonly #lines: LogLines;
  readonly #timers: readonly NodeJS.Timeout[];
  #deaf = false;
  #consumer: GenerationConsumer | null = null;
  #state: WorkerStatus['state'] = 'starting';

  /** Throws where Redis or NATS cannot be reached, or the snapshot store can never be. */
  static async start(engine: Engine, options: WorkerOptions): Promise<Worker> {
    const { logger, redisUrl, natsUrl } = options;
    const settings = { ...options.snapshots, layout: engine.layout, model: engine.model };
    const snapshots = await openSnapshots(settings, (outage) => {
      if (outage === null) logger.info('the snapshot store answers; states are stored again');
      else logger.warn({ reason: outage }, 'the snapshot store does not answer; states are computed again');
    });
    const states = new SessionStates({
      snapshots,
      layout: engine.layout,
      fingerprint: engine.model.fingerprint,
      every: options.snapshotTokens,
      warmBytes: options.warmBytes,
      onRefused: (generation, { reason, message }) =>
        logger.warn({ generation, reason }, `snapshot not used: ${message}`),
      onSave: (generation, result) => {
        recordSave(result);
        if (result.kind === 'saved') logger.debug({ generation, ...result }, 'snapshot saved');
        else logger.warn({ generation, reason: result.reason }, `snapshot not saved: ${result.message}`);
      },
    });
    const worker = new Worker(engine, options, {
      states,
      log: await TokenLog.open(natsUrl, options.log),
      queue: await GenerationQueue.open(redisUrl),
      heartbeat: await Heartbeat.start(natsUrl),
    });
    await worker.#takeJobs();
    return worker;
  }

  private constructor(
    engine: Engine,
    options: WorkerOptions,
    parts: { log: TokenLog; states: SessionStates; queue: GenerationQueue; heartbeat: Heartbeat },
  ) {
    this.#engine = engine;
    this.#options = options;
    this.#lines = new LogLines(options.logger, {
      process: this.#process,
      fingerprint: engine.model.fingerprint,
    });
    this.#log = parts.log;
    this.#states = parts.states;
    this.#queue = parts.queue;
    this.#heartbeat = parts.heartbeat;
    const { connection } = parts.log;
    this.#watch = new FleetWatch(connection, {
      onLost: ({ worker, silentMs }) => void this.#takeBack(worker, silentMs),
      onError: (error) => options.logger.warn({ err: error }, 'a heartbeat is not understood'),
    });
    this.#moves = new Moves({
      workerId: options.workerId,
      modelName: options.modelName,
      engine,
      log: parts.log,
      states: parts.states,
      fleet: this.#watch,
      running: this.#running,
      begin: (standby) => this.#start(standby.job, standby),
      onComing: () => this.#fetchWhatFits(),
      logger: options.logger,
    });
    this.#stopCommands = serveCommands(connection, options.workerId, (command) => this.#obey(command));
    this.#timers = [
      setInterval(() => this.#tell(), statusMs),
      setInterval(() => this.#listenToItself(), deafCheckMs),
    ];
    this.#tell();
    observeWorker(() => ({
      slots: { used: this.active, free: engine.capacity.slots - this.active },
      stateBytes: { running: options.stateBytes(), warm: parts.states.warmBytes },
    }));
  }

  /** Generations that it runs now. */
  get active(): number {
    return this.#running.size;
  }

  /** Takes nothing more, hands everything over, says goodbye. */
  async stop(): Promise<void> {
    this.#state = 'draining';
    this.#tell();
    const { drainMs } = this.#options;
    const start = performance.now();
    this.#consumer?.pause();
    // Half of the time to move what others have room for; what is left then is stored, and goes back to the queue.
    await Promise.race([this.#moves.leave(), sleep(drainMs / 2, undefined, { ref: false })]);
    await this.#consumer?.close(drainMs - (performance.now() - start));
    for (const timer of this.#timers) clearInterval(timer);
    this.#stopCommands();
    this.#watch.close();
    this.#state = 'stopped';
    await this.#heartbeat.stop(this.#status);
    await Promise.allSettled([this.#engine.close(), this.#states.close(), this.#queue.close()]);
    await this.#log.close();
  }

  async #takeJobs(): Promise<void> {
    const { redisUrl, workerId, logger } = this.#options;
    this.#consumer = await GenerationConsumer.start(redisUrl, (job, signal) => this.#handle(job, signal), {
      concurrency: this.#engine.capacity.slots,
      name: workerId,
      onGivenUp: async (id, error, given) => {
        logger.error({ generation: id, err: error }, 'generation given up');
        if ((await this.#log.appendError(id, error, workerId)) === 'appended') recordFailure(error);
        // Owners of before may have stored its state, also where nobody can read the job any more.
        const job = given ?? (await this.#log.read(id))?.job;
        if (job) await this.#states.delete(job);
      },
      onError: (error: BatonError) => logger.error({ err: error }, error.message),
    });
    this.#fetchWhatFits();
    this.#state = 'running';
    this.#tell();
  }

  /** Without NATS nothing can be claimed, and a job that is taken all the same would wait here for nothing. */
  #listenToItself(): void {
    const { workerId, logger } = this.#options;
    const heard = this.#watch.workers.find(({ worker }) => worker === workerId);
    const deaf = heard === undefined || heard.silentMs > deafMs;
    if (deaf === this.#deaf || this.#state !== 'running') return;
    this.#deaf = deaf;
    if (!deaf) {
      this.#consumer?.resume();
      logger.info('NATS can be heard again; taking jobs');
    } else {
      this.#consumer?.pause();
      logger.warn('NATS cannot be heard; taking no jobs');
    }
  }

  /** The queue's handler. */
  async #handle(job: GenerationJob, signal: AbortSignal): Promise<void> {
    const stoodBy = await this.#moves.arrived(job.id);
    // Its job is here: what stood by may have left it to a worker that was faster, and has the job no more.
    if (stoodBy === null || !(await this.#untilEnded(stoodBy, signal))) {
      await this.#untilEnded(this.#start(job), signal);
    }
  }

  async #untilEnded(running: Running, signal: AbortSignal): Promise<boolean> {
    const stop = () => running.release.abort(signal.reason);
    signal.addEventListener('abort', stop);
    if (signal.aborted) stop();
    try {
      return await running.ended;
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  #start(job: GenerationJob, standby: Standby | null = null): Running {
    const { workerId, modelName, maxClaims } = this.#options;
    const { fingerprint } = this.#engine.model;
    const release = new AbortController();
    const context: GenerationContext = {
      log: this.#log,
      engine: {
        generate: (...request) => this.#outputsOf(running, this.#engine.generate(...request)),
      },
      states: this.#states,
      workerId,
      process: this.#process,
      fingerprint,
      whyUnfit: (state) =>
        whyUnfit(
          job,
          state,
          { model: modelName, fingerprint },
          this.#watch.isNew ? null : this.#watch.running,
        ),
      maxClaims,
      onProgress: (tracker) => {
        running.tracker = tracker;
      },
      onRestored: (state, restored, former) => this.#lines.begun(job, state, restored, former),
    };
    const run = async () => {
      try {
        return await runGeneration(job, release.signal, context, standby);
      } catch (error) {
        if (error === release.signal.reason) this.#lines.released(running, error);
        else this.#lines.failed(job.id, error);
        if (error === dismissed) return false;
        throw error;
      } finally {
        if (this.#running.get(job.id) === running) this.#running.delete(job.id);
        this.#fetchWhatFits();
        await standby?.close();
      }
    };
    const begun = standby !== null;
    const running: Running = {
      job,
      release,
      ended: Promise.resolve(true),
      tracker: null,
      begun,
      target: null,
      obstacle: 'no other worker has room',
    };
    this.#running.set(job.id, running);
    this.#fetchWhatFits();
    running.ended = run();
    // Whoever has its job meets it; there may be nobody as yet.
    running.ended.catch(() => {});
    return running;
  }

  async *#outputsOf(running: Running, outputs: AsyncIterable<EngineOutput>): AsyncGenerator<EngineOutput> {
    for await (const output of outputs) {
      if (!running.begun) {
        running.begun = true;
        this.#fetchWhatFits();
      }
      yield output;
    }
  }

  /**
   * The engine has memory for so many of full length at any time. For more it may have, if they are short: they are fetched
   * one by one, each when the one before has begun, so that what has to wait does so where any worker can take it. What
   * stands by for a generation of another worker has its slot already.
   */
  #fetchWhatFits(): void {
    const { slots, stateBytes, stateBytesLimit } = this.#engine.capacity;
    const full = Math.floor(stateBytesLimit / stateBytes.full);
    const next = [...this.#running.values()].every(({ begun }) => begun) ? 1 : 0;
    const { standing, expected } = this.#moves;
    const most = Math.min(slots, Math.max(full, this.active + standing + next));
    this.#consumer?.limit(most - expected);
  }

  #obey(command: WorkerCommand): Promise<Answer> | Answer {
    switch (command.kind) {
      case 'drain':
        this.#options.onDrained();
        return { done: true, reason: `handing over ${this.active} generations` };
      case 'migrate':
        return this.#moves.migrate(command.generation, command.to);
      case 'prepare':
        return this.#moves.prepare(command.generation);
      case 'adopt':
        return this.#adopt(command.generation, command.lock_token);
      case 'forget':
        this.#states.forget({ tenant: command.tenant, id: command.generation });
        return done;
    }
  }

  async #adopt(generation: string, lockToken: string): Promise<Answer> {
    const taken = (await this.#consumer?.adopt(generation, lockToken)) ?? false;
    if (!taken) this.#moves.dismiss(generation);
    return taken ? done : { done: false, reason: 'there is no room' };
  }

  /** Every watcher sees the same silence; whoever is first puts the jobs back. */
  async #takeBack(worker: string, silentMs: number): Promise<void> {
    const { logger } = this.#options;
    try {
      const generations = await this.#queue.takeBack(worker);
      if (generations.length > 0) {
        logger.warn(
          { worker, silentMs: Math.round(silentMs), generations },
          'took back what a silent worker was running',
        );
      }
    } catch (error) {
      logger.warn(
        { err: error, worker },
        'cannot take back what a silent worker was running; its locks will run out',
      );
    }
  }

  #tell(): void {
    this.#heartbeat.say(this.#status);
  }

  get #status(): WorkerStatus {
    const { workerId, modelName } = this.#options;
    return {
      v: 1,
      worker: workerId,
      pid: process.pid,
      host: hostname(),
      state: this.#state,
      device: this.#engine.device,
      model: modelName,
      fingerprint: this.#engine.model.fingerprint,
      slots: this.#engine.capacity.slots,
      generations: [...this.#running].map(([id, { tracker }]) => ({
        id,
        tokens: tracker?.tokens ?? 0,
        stored: tracker?.stored ?? 0,
      })),
    };
  }
}
