import { z } from 'zod';
import { type Check, natsUrls, redisUrl, snapshotStoreUrl } from './urls.ts';

const wholeNumber = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d+$/, 'must be a whole number')
    .transform(Number)
    .refine((n) => n >= min && n <= max, `must be between ${min} and ${max}`);

const checked = (problemOf: Check) =>
  z.string().check(({ value, issues }) => {
    const message = problemOf(value);
    if (message !== null) issues.push({ code: 'custom', input: value, message });
  });

const text = z.string().min(1, 'must not be empty');

const list = (item: z.ZodType<string, string>) =>
  z
    .string()
    .transform((value) => value.split(',').map((part) => part.trim()))
    .pipe(z.array(item));

const origin = z
  .string()
  .refine(
    (value) => URL.canParse(value) && new URL(value).origin === value,
    'must be origins such as https://chat.example.com',
  );

const network = z.union([z.ipv4(), z.ipv6(), z.cidrv4(), z.cidrv6()], {
  error: 'must be addresses or networks such as 10.0.0.0/8',
});

/**
 * Every variable Baton reads, with its check. A variable without a default is `undefined` when unset.
 * Standard variables of other projects (`OTEL_*`, `HF_ENDPOINT`, `HF_TOKEN`) keep their own meaning and are not listed.
 */
export const variables = {
  /** Folder of a released-layout Hymba checkpoint or of a converted model. Unset: the embedded hymba-stories-22m. */
  BATON_MODEL: text.optional(),
  /** The name clients call the model by. Unset: the folder's name. */
  BATON_MODEL_NAME: text.optional(),
  /** Where converted models, logs and the data of locally started servers live. */
  BATON_DATA_DIR: text.default('.baton'),
  /** Redis that holds the queue; the number of a database may end it. Unset: `npm start` starts one of its own. */
  BATON_REDIS_URL: checked(redisUrl).optional(),
  /** NATS with JetStream that holds the token logs; of a cluster, several of its servers with commas between. Unset: `npm start` starts one of its own. */
  BATON_NATS_URL: checked(natsUrls).optional(),
  /** Who may use the gateway: whoever has a key of `baton keys`, or anybody, which it then allows on loopback alone. */
  BATON_AUTH: z.enum(['none', 'keys'], 'must be none or keys').default('none'),
  /** Origins whose web pages may use the gateway, with commas between. Unset: none. */
  BATON_ALLOWED_ORIGINS: list(origin).optional(),
  /** Addresses and networks of reverse proxies in front of the gateway, with commas between. Unset: none. */
  BATON_TRUSTED_PROXIES: list(network).optional(),
  /** Address the gateway listens on. Other than loopback it needs BATON_AUTH=keys. */
  BATON_HOST: text.default('127.0.0.1'),
  /** Port the gateway listens on. */
  BATON_PORT: wholeNumber(0, 65_535).default(8080),
  /** Workers that `npm start` runs. */
  BATON_WORKERS: wholeNumber(1, 64).default(2),
  /** This worker's name in claims, logs and traces. Unset: host name and process id. */
  BATON_WORKER_ID: z
    .string()
    .regex(/^[\w.-]{1,64}$/, 'must be 1 to 64 letters, digits, ".", "_" or "-"')
    .optional(),
  /** How a checkpoint's large matrices are stored when it is converted on first use. Unset: fp32. */
  BATON_WEIGHTS: z
    .enum(['fp32', 'int8', 'int4', 'int4-32'], 'must be fp32, int8, int4 or int4-32')
    .optional(),
  /** What keys and values are rounded to when they are computed. Unset: float32 with fp32 weights, float16 with others. */
  BATON_KV_CACHE: z.enum(['float32', 'float16'], 'must be float32 or float16').optional(),
  /** Threads the model computes with. Unset: all cores, shared out among the workers of one `npm start`. */
  BATON_THREADS: wholeNumber(1, 1024).optional(),
  /** What a worker's model runs on: cpu, webgpu, cuda, or auto for CUDA where its files were fetched, else the CPU. */
  BATON_DEVICE: z
    .enum(['auto', 'cpu', 'webgpu', 'cuda'], 'must be auto, cpu, webgpu or cuda')
    .default('auto'),
  /** Generations that a worker runs at once, each with its state in memory. Unset: 8. */
  BATON_SLOTS: wholeNumber(1, 1024).optional(),
  /** Most prompt tokens prefilled in one step, and so between two tokens of a running stream. Unset: 64. */
  BATON_PREFILL_CHUNK: wholeNumber(2, 65_536).optional(),
  /** Most tokens a step feeds while streams run: one for each stream, the rest for a prompt. Unset: 64. */
  BATON_STEP_TOKENS: wholeNumber(1, 65_536).optional(),
  /**
   * Megabytes (MiB) that the states of running generations may take. Unset: what all slots can come to need. With webgpu it
   * bounds the slots: two fewer than generations of full length have room in it.
   */
  BATON_STATE_MEMORY: wholeNumber(1, 16_777_216).optional(),
  /** Generations that may wait in the queue before new ones are refused with 503. */
  BATON_QUEUE_LIMIT: wholeNumber(1, 1_000_000).default(1000),
  /** Seconds a generation may wait for a worker while its client waits for it. */
  BATON_QUEUE_TIMEOUT: wholeNumber(1, 86_400).default(60),
  /** Generations of one tenant that may wait and run at once. Best below BATON_QUEUE_LIMIT. */
  BATON_TENANT_GENERATIONS: wholeNumber(1, 1_000_000).default(500),
  /** Requests of one tenant in a minute. Unset: no limit. */
  BATON_TENANT_REQUESTS: wholeNumber(1, 1_000_000_000).optional(),
  /** Prompt and output tokens of one tenant in a minute. Unset: no limit. */
  BATON_TENANT_TOKENS: wholeNumber(1, 1_000_000_000).optional(),
  /** Megabytes (MiB) of one tenant's conversations, in Redis. */
  BATON_CONVERSATION_QUOTA: wholeNumber(1, 1_048_576).default(256),
  /** Where snapshots of running sessions are kept: redis://…, s3://…, or file:///folder that all workers see. Unset: BATON_REDIS_URL. */
  BATON_SNAPSHOT_STORE: checked(snapshotStoreUrl).optional(),
  /** Keys of 32 bytes, in hexadecimal, that encrypt snapshots: the first one what is written, all what is read. Unset: not encrypted. */
  BATON_SNAPSHOT_KEYS: z
    .string()
    .regex(
      /^[0-9a-f]{64}(,[0-9a-f]{64})*$/i,
      'must be keys of 64 hexadecimal digits, with commas between them',
    )
    .transform((keys) => keys.split(','))
    .optional(),
  /** How much a snapshot keeps: exact (every bit), int8, or compact (4 bits a recent key or value, 2.7 an old one). */
  BATON_SNAPSHOT_CODEC: z
    .enum(['exact', 'int8', 'compact'], 'must be exact, int8 or compact')
    .default('exact'),
  /** Tokens between two snapshots, and so the most that are computed again when a worker is lost. */
  BATON_SNAPSHOT_TOKENS: wholeNumber(1, 65_536).default(64),
  /** Hours after which a session's snapshot is forgotten that nobody continues. */
  BATON_SNAPSHOT_TTL_HOURS: wholeNumber(1, 8760).default(24),
  /** Megabytes (MiB) of all snapshots; the oldest of whoever has most are forgotten first. */
  BATON_SNAPSHOT_MEMORY: wholeNumber(1, 16_777_216).default(4096),
  /** Megabytes (MiB) of one tenant's snapshots. */
  BATON_SNAPSHOT_QUOTA: wholeNumber(1, 16_777_216).default(1024),
  /** Megabytes (MiB) of states of ended turns that a worker keeps in its memory for the next turn. */
  BATON_WARM_MEMORY: wholeNumber(0, 16_777_216).default(512),
  /** How many workers may be lost to one generation before it fails with `server_error`. */
  BATON_MAX_CLAIMS: wholeNumber(1, 1000).default(5),
  /** Token-log streams that generations are spread over. Every process must use the same number. */
  BATON_LOG_SHARDS: wholeNumber(1, 256).default(1),
  /** Copies of each token-log stream that JetStream keeps (needs a NATS cluster of that many servers). */
  BATON_LOG_REPLICAS: wholeNumber(1, 5).default(1),
  /** Hours after which a generation's log, and with it the response, expires. */
  BATON_LOG_MAX_AGE_HOURS: wholeNumber(1, 8760).default(24),
  /** Largest request body and WebSocket message, in bytes. */
  BATON_BODY_LIMIT: wholeNumber(1024, 268_435_456).default(4_194_304),
  /** WebSockets and event streams (SSE) that a gateway serves at once before it sends new ones elsewhere. */
  BATON_SOCKET_LIMIT: wholeNumber(1, 1_000_000).default(10_000),
  /** WebSockets and event streams of one tenant that a gateway serves at once. Best below BATON_SOCKET_LIMIT. */
  BATON_TENANT_STREAMS: wholeNumber(1, 1_000_000).default(1000),
  /** Seconds a client that went away has to come back, before what nobody could read again is cancelled. */
  BATON_DISCONNECT_GRACE: wholeNumber(0, 3600).default(5),
  /** Seconds a stopping gateway waits for its connections before it drops them. */
  BATON_SHUTDOWN_TIMEOUT: wholeNumber(0, 3600).default(10),
  /** Seconds a stopping worker may take to hand its generations over to others. */
  BATON_DRAIN_TIMEOUT: wholeNumber(1, 3600).default(10),
  /** Whether traces hold what clients ask and models say. Logs never do. */
  BATON_CAPTURE_CONTENT: z.enum(['true', 'false'], 'must be true or false').default('false'),
  /** Least severe log lines that are written. */
  BATON_LOG_LEVEL: z
    .enum(
      ['trace', 'debug', 'info', 'warn', 'error', 'silent'],
      'must be trace, debug, info, warn, error or silent',
    )
    .default('info'),
} satisfies Record<`BATON_${string}`, z.ZodType>;

export type VariableName = keyof typeof variables;

/** Those whose values no message shows. Of every other one, messages leave out users and passwords of URLs. */
export const secretVariables: ReadonlySet<VariableName> = new Set(['BATON_SNAPSHOT_KEYS']);
