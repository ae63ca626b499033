/** What `pullModel` reports on its way. Sizes and positions are in bytes. */
export type PullEvent =
  /** Another pull holds the destination; this one goes on when that one is done. */
  | { readonly kind: 'waiting' }
  /** The repository was listed at `revision` (a commit); `bytes` is the size of the wanted files together. */
  | { readonly kind: 'listed'; readonly revision: string; readonly files: number; readonly bytes: number }
  /** `bytes` of the whole pull are on disk, `fileBytes` of them in `file`. */
  | { readonly kind: 'progress'; readonly file: string; readonly fileBytes: number; readonly bytes: number }
  /** `file` is complete and its hash is right. */
  | { readonly kind: 'done'; readonly file: string; readonly fileBytes: number; readonly bytes: number }
  /** A request failed in a way that may pass; it is made again. `file` is null for the listing. */
  | { readonly kind: 'retry'; readonly file: string | null; readonly reason: string };
