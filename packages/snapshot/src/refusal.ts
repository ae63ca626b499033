/** Why a snapshot cannot be gone on from. */
export const refusalReasons = [
  'truncated',
  'corrupted',
  'newer_version',
  'older_version',
  'key_missing',
  'foreign_model',
  'foreign_tokenizer',
  'foreign_session',
  'other_tokens',
  // Of the log as it was read, which goes on.
  'ahead',
  'page_missing',
  'incomplete',
  'store_unavailable',
] as const;
export type RefusalReason = (typeof refusalReasons)[number];

/** A snapshot that is not gone on from: wrong tokens are worse than computing them again. */
export class SnapshotRefusal extends Error {
  readonly reason: RefusalReason;

  constructor(reason: RefusalReason, message: string) {
    super(message);
    this.name = 'SnapshotRefusal';
    this.reason = reason;
  }
}
