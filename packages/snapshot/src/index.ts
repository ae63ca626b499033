export { type CodecTier, codecTiers } from './codec/tiers.ts';
export { decodeManifest, type Manifest, type PageEntry } from './format/manifest.ts';
export { pageTokens } from './pages.ts';
export { type RefusalReason, refusalReasons, SnapshotRefusal } from './refusal.ts';
export type {
  RestoreResult,
  SaveReport,
  SaveResult,
  SessionRef,
  SnapshotService,
} from './snapshot-service.ts';
export { SnapshotWriter } from './snapshot-writer.ts';
export { encryptionOverhead } from './stores/encrypted-store.ts';
export { awaitSnapshotStore, openSnapshotStore } from './stores/open-store.ts';
export type { SnapshotStore, StoreLimits, StoreUsage } from './stores/store.ts';
export { openSnapshots, type SnapshotSettings } from './thread/threaded-snapshots.ts';
