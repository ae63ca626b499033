import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Entry, type Repository, readRepository } from './hub-repository.ts';

/** Something that goes wrong with the next request whose path matches; faults are used up in order. */
export type HubFault = { readonly path: RegExp } & (
  | { readonly kind: 'status'; readonly status: number; readonly headers?: Record<string, string> }
  /** The connection is cut after this many bytes of the body. */
  | { readonly kind: 'break'; readonly after: number }
  /** One byte in the middle of the body is flipped. */
  | { readonly kind: 'corrupt' }
  /** The whole file is sent with status 200, whatever `Range` says. */
  | { readonly kind: 'ignore-range' }
);

export interface HubRequest {
  readonly path: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
  /** Whether the storage behind the hub was asked, which is another origin. */
  readonly storage: boolean;
}

export interface HubServerOptions {
  /** Repository id to the folder that it serves. */
  readonly repositories: Readonly<Record<string, string>>;
  /** With a token, repositories are private to its holder. */
  readonly token?: string;
  /** Gated repositories refuse every token. */
  readonly gated?: boolean;
  /** Sizes that listings claim in place of the true ones, by file name. */
  readonly claimedSizes?: Readonly<Record<string, number>>;
}

export interface HubServer extends AsyncDisposable {
  /** What `HF_ENDPOINT` has to be. */
  readonly endpoint: string;
  readonly requests: HubRequest[];
  readonly faults: HubFault[];
}

/**
 * A Hugging Face hub on loopback that serves folders as model repositories: the listing with pages, the git hashes of
 * small files and the LFS hashes of *.safetensors, redirects to a storage of another origin, ranges. Its answers follow
 * https://huggingface.co/docs/hub/api and what huggingface.co sends.
 */
export async function startHubServer(options: HubServerOptions): Promise<HubServer> {
  const repositories = new Map<string, Repository>();
  for (const [id, folder] of Object.entries(options.repositories)) {
    repositories.set(id, await readRepository(id, folder, options.claimedSizes));
  }
  const requests: HubRequest[] = [];
  const faults: HubFault[] = [];

  const serve = (storage: boolean) => async (request: IncomingMessage, response: ServerResponse) => {
    const url = new URL(request.url ?? '/', hubUrl);
    const path = decodeURIComponent(url.pathname);
    const { range, authorization } = request.headers;
    requests.push({ path, range, authorization, storage });
    const index = faults.findIndex((fault) => fault.path.test(path));
    const fault = index < 0 ? undefined : faults.splice(index, 1)[0];
    if (fault?.kind === 'status') return refuse(response, fault.status, undefined, fault.headers);

    if (storage) {
      const all = [...repositories.values()].flatMap(({ files }) => files);
      const entry = all.find(({ lfs, hash }) => lfs && path === `/xet-bridge/${hash}`);
      return entry ? sendFile(response, entry, range, fault) : refuse(response, 404);
    }
    const route = matchRoute(path);
    const repository = route && repositories.get(route.id);
    const allowed = !options.token || authorization === `Bearer ${options.token}`;
    if (!route || !repository || !allowed) {
      return authorization ? refuse(response, 404, 'RepoNotFound') : refuse(response, 401, 'RepoNotFound');
    }
    if (route.revision !== 'main' && route.revision !== repository.commit) {
      return refuse(response, 404, 'RevisionNotFound');
    }
    if (route.kind === 'revision')
      return sendJson(response, { _id: '0', id: route.id, sha: repository.commit });
    if (route.kind === 'tree') return sendPage(response, repository, url);
    if (options.gated) return refuse(response, authorization ? 403 : 401, 'GatedRepo');
    const entry = repository.files.find((file) => file.path === route.path);
    if (!entry) return refuse(response, 404, 'EntryNotFound');
    if (!entry.lfs) return sendFile(response, entry, range, fault);
    response.writeHead(302, {
      'x-linked-size': String(entry.content.byteLength),
      'x-linked-etag': `"${entry.hash}"`,
      location: `${storageUrl}/xet-bridge/${entry.hash}?signed`,
    });
    return response.end();
  };

  const hub = createServer(serve(false));
  const storage = createServer(serve(true));
  const hubUrl = await listen(hub);
  const storageUrl = await listen(storage);
  return {
    endpoint: hubUrl,
    requests,
    faults,
    async [Symbol.asyncDispose]() {
      await Promise.all([close(hub), close(storage)]);
    },
  };
}

interface Route {
  readonly kind: 'revision' | 'tree' | 'resolve';
  readonly id: string;
  readonly revision: string;
  readonly path: string;
}

function matchRoute(path: string): Route | null {
  const match =
    /^\/api\/models\/(?<id>[^/]+\/[^/]+)\/(?<kind>revision|tree)\/(?<revision>[^/]+)(?<path>)$/.exec(path) ??
    /^\/(?<id>[^/]+\/[^/]+)\/(?<kind>resolve)\/(?<revision>[^/]+)\/(?<path>.+)$/.exec(path);
  return (match?.groups as Route | undefined) ?? null;
}

const pageSize = 3;

function sendPage(response: ServerResponse, repository: Repository, url: URL): void {
  const from = Number(url.searchParams.get('cursor') ?? 0);
  const rest = repository.listing.length > from + pageSize;
  const next = new URL(url);
  next.searchParams.set('cursor', String(from + pageSize));
  if (rest) response.setHeader('link', `<${next}>; rel="next"`);
  sendJson(response, repository.listing.slice(from, from + pageSize));
}

function sendJson(response: ServerResponse, body: unknown): void {
  response.setHeader('content-type', 'application/json; charset=utf-8');
  response.end(JSON.stringify(body));
}

function refuse(
  response: ServerResponse,
  status: number,
  code?: string,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, { ...headers, ...(code ? { 'x-error-code': code } : {}) });
  response.end(code ?? '');
}

function sendFile(response: ServerResponse, entry: Entry, range: string | undefined, fault?: HubFault): void {
  const size = entry.content.byteLength;
  const [, from, to] =
    (fault?.kind === 'ignore-range' ? null : /^bytes=(\d+)-(\d*)$/.exec(range ?? '')) ?? [];
  const start = Number(from ?? 0);
  const end = to ? Math.min(Number(to), size - 1) : size - 1;
  response.setHeader('etag', `"${entry.hash}"`);
  response.setHeader('accept-ranges', 'bytes');
  if (start >= size) {
    refuse(response, 416, undefined, { 'content-range': `bytes */${size}` });
    return;
  }

  const body = Buffer.from(entry.content.subarray(start, end + 1));
  if (fault?.kind === 'corrupt') body.writeUInt8(body.readUInt8(body.length >> 1) ^ 1, body.length >> 1);
  if (from !== undefined) response.setHeader('content-range', `bytes ${start}-${end}/${size}`);
  response.writeHead(from === undefined ? 200 : 206, { 'content-length': String(body.length) });
  if (fault?.kind === 'break') {
    response.write(body.subarray(0, fault.after), () => response.destroy());
  } else {
    response.end(body);
  }
}

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function close(server: Server): Promise<void> {
  const closed = new Promise((resolve) => server.close(resolve));
  server.closeAllConnections();
  await closed;
}
