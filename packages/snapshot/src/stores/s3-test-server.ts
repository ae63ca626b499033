/// <reference path="./s3rver.d.ts" />
import { mkdtemp, rm, utimes } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import S3rver from '@20minutes/s3rver';

export interface S3TestServer {
  /** What BATON_SNAPSHOT_STORE would be for a folder in its bucket. */
  url(prefix: string): string;
  /** Method and path of every request so far. */
  readonly requests: readonly string[];
  /** Takes place before a request is answered, told as in `requests`. */
  before: (request: string) => Promise<void>;
  stop(): Promise<void>;
}

interface Context {
  readonly path: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string | undefined>>;
  status: number;
  type: string;
  body: string;
}

/**
 * An S3 server on loopback. It knows no conditions on a PUT (nor does any other that npm or Debian 12 has, but for Ceph's,
 * which wants a cluster), so they are put in front of it here as S3 documents them, unless
 * `conditions` is false; and one object is read or written by one request at a time, since in S3 a write is whole. Nor does it
 * take a copy onto itself for a write, which makes an object new in S3.
 */
export async function startS3Server({ conditions = true } = {}): Promise<S3TestServer> {
  const directory = await mkdtemp(join(tmpdir(), 'baton-s3-'));
  const server = new S3rver({
    address: '127.0.0.1',
    port: 0,
    silent: true,
    directory,
    allowMismatchedSignatures: true,
    configureBuckets: [{ name: 'snapshots' }],
  });
  const requests: string[] = [];
  const turns = new Map<string, Promise<void>>();
  server.middleware.unshift(async (context: Context, next: () => Promise<void>) => {
    const request = `${context.method} ${context.path}`;
    requests.push(request);
    await started.before(request);
    const turn = (turns.get(context.path) ?? Promise.resolve()).then(async () => {
      const { 'if-match': match, 'if-none-match': noneMatch } = context.headers;
      const asks = conditions && context.method === 'PUT' && (match ?? noneMatch) !== undefined;
      const etag = asks ? await etagOf(context.path) : null;
      if (asks && (match !== undefined ? etag !== match : etag !== null)) {
        context.status = etag === null ? 404 : 412;
        context.type = 'application/xml';
        context.body = `<Error><Code>${etag === null ? 'NoSuchKey' : 'PreconditionFailed'}</Code></Error>`;
      } else {
        await next();
      }
      if (context.method === 'PUT' && context.headers['x-amz-copy-source']) await touch(context.path);
    });
    turns.set(
      context.path,
      turn.catch(() => {}),
    );
    await turn;
  });

  const partsOf = (path: string) => {
    const [, bucket = '', ...key] = decodeURIComponent(path).split('/');
    return [bucket, key.join('/')] as const;
  };

  async function etagOf(path: string): Promise<string | null> {
    if (!(await server.store.existsObject(...partsOf(path)))) return null;
    return (await server.store.getMetadata(...partsOf(path))).etag;
  }

  async function touch(path: string): Promise<void> {
    if (!(await server.store.existsObject(...partsOf(path)))) return;
    const now = new Date();
    await utimes(server.store.getResourcePath(...partsOf(path), 'object'), now, now);
  }

  const { port }: AddressInfo = await server.run();
  const started: S3TestServer = {
    requests,
    before: async () => {},
    url: (prefix) => `s3://snapshots/${prefix}?endpoint=${encodeURIComponent(`http://127.0.0.1:${port}`)}`,
    stop: async () => {
      server.httpServer.closeAllConnections();
      await server.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
  return started;
}
