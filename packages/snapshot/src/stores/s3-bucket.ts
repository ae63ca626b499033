import {
  CopyObjectCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  S3ServiceException,
} from '@aws-sdk/client-s3';
import { BatonError, ConfigurationError, DependencyError } from '@baton/errors';

export interface S3Object {
  readonly key: string;
  readonly etag: string;
  /** When it was written, in milliseconds since 1970. */
  readonly modified: number;
}

/**
 * Objects in a bucket of anything that speaks S3, all under one prefix, which their keys here are without. Each request throws
 * `DependencyError` where the bucket does not answer as it should.
 */
export class S3Bucket {
  readonly #client: S3Client;
  readonly #bucket: string;
  readonly #prefix: string;
  #closed = false;

  private constructor(client: S3Client, bucket: string, prefix: string) {
    this.#client = client;
    this.#bucket = bucket;
    this.#prefix = prefix;
  }

  /**
   * `s3://bucket/prefix?endpoint=…&region=…`; credentials, and what the query leaves out, as the AWS tools find them. Throws
   * `DependencyError` where the bucket does not answer, `ConfigurationError` where it ignores conditions; where it is to be read
   * only, neither is found out before it is asked for something, since that takes a write.
   */
  static async open(url: string, readOnly: boolean): Promise<S3Bucket> {
    const { hostname, pathname, searchParams } = new URL(url);
    const endpoint = searchParams.get('endpoint');
    const region = searchParams.get('region') ?? (endpoint === null ? null : 'us-east-1');
    const client = new S3Client({
      ...(endpoint !== null && { endpoint, forcePathStyle: true }),
      ...(region !== null && { region }),
      // A busy server is asked again after a while; one that is away is given up after seconds.
      maxAttempts: 4,
      requestHandler: { connectionTimeout: 3000, requestTimeout: 10_000 },
      // Pages are checked by their own hashes, and not every server knows these checksums.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
    });
    const prefix = pathname.replace(/^\/+|\/+$/g, '');
    const bucket = new S3Bucket(client, hostname, prefix === '' ? '' : `${prefix}/`);
    if (readOnly) return bucket;
    try {
      await bucket.#checkConditions();
    } catch (error) {
      client.destroy();
      throw error;
    }
    return bucket;
  }

  async get(key: string): Promise<{ readonly bytes: Uint8Array; readonly etag: string } | null> {
    return this.#ask(async () => {
      const { Body, ETag } = await this.#client.send(new GetObjectCommand(this.#object(key)));
      return Body ? { bytes: await Body.transformToByteArray(), etag: String(ETag) } : null;
    });
  }

  /** Gives the object's version, or null where the condition does not hold. */
  async put(
    key: string,
    bytes: Uint8Array,
    condition: { readonly IfNoneMatch?: string; readonly IfMatch?: string } = {},
  ): Promise<string | null> {
    const put = new PutObjectCommand({ ...this.#object(key), Body: bytes, ...condition });
    return this.#ask(async () => String((await this.#client.send(put)).ETag));
  }

  /** Writes an object onto itself, which makes it new; false where it is gone. */
  async renew(key: string): Promise<boolean> {
    const object = this.#object(key);
    // It is decoded there, unlike a key.
    const source = [object.Bucket, ...object.Key.split('/')].map(encodeURIComponent).join('/');
    const copy = new CopyObjectCommand({ ...object, CopySource: source, MetadataDirective: 'REPLACE' });
    return (await this.#ask(() => this.#client.send(copy))) !== null;
  }

  async remove(key: string): Promise<void> {
    await this.#ask(() => this.#client.send(new DeleteObjectCommand(this.#object(key))));
  }

  /** When an object was written; null for one that is not there. */
  async modifiedAt(key: string): Promise<number | null> {
    const found = await this.#ask(() => this.#client.send(new HeadObjectCommand(this.#object(key))));
    return found && (found.LastModified?.getTime() ?? 0);
  }

  /** The objects whose keys begin with `beginning`. */
  async *list(beginning: string): AsyncGenerator<S3Object> {
    const { Bucket, Key: Prefix } = this.#object(beginning);
    let next: string | undefined;
    do {
      const list = new ListObjectsV2Command({ Bucket, Prefix, ContinuationToken: next });
      const answer = await this.#ask(() => this.#client.send(list));
      for (const { Key, ETag, LastModified } of answer?.Contents ?? []) {
        const key = String(Key).slice(this.#prefix.length);
        yield { key, etag: String(ETag), modified: LastModified?.getTime() ?? 0 };
      }
      next = answer?.NextContinuationToken;
    } while (next !== undefined);
  }

  /** Nothing more is asked. */
  close(): void {
    this.#closed = true;
    this.#client.destroy();
  }

  /** Two writes on the condition that nothing is there: one of them has to fail. */
  async #checkConditions(): Promise<void> {
    const write = () => this.put('conditions', new Uint8Array(), { IfNoneMatch: '*' });
    if ((await write()) !== null && (await write()) !== null) {
      throw new ConfigurationError(
        `the S3 server of bucket ${this.#bucket} ignores If-None-Match; snapshots need conditional writes`,
      );
    }
  }

  /** Null for what is not there, and where a condition does not hold or somebody else writes just now. */
  async #ask<T>(work: () => Promise<T>): Promise<T | null> {
    if (this.#closed) throw new DependencyError('s3', 'the S3 store is closed');
    try {
      return await work();
    } catch (error) {
      if (error instanceof BatonError) throw error;
      const status = error instanceof S3ServiceException ? error.$metadata.httpStatusCode : undefined;
      const missingBucket = error instanceof S3ServiceException && error.name === 'NoSuchBucket';
      if (!missingBucket && (status === 404 || status === 409 || status === 412)) return null;
      const reason = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
      throw new DependencyError('s3', `the S3 store does not answer as it should: ${reason}`, {
        cause: error,
      });
    }
  }

  #object(key: string): { readonly Bucket: string; readonly Key: string } {
    return { Bucket: this.#bucket, Key: `${this.#prefix}${key}` };
  }
}
