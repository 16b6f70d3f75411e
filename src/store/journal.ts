/** Where the store's writes are kept; types only. */
import type { Kind, Stored, StoreEvent } from './contract.ts';

export type Entry =
  | { readonly type: 'put'; readonly object: Stored<Kind>; readonly before: Stored<Kind> | undefined }
  | { readonly type: 'gone'; readonly before: Stored<Kind>; readonly version: number; readonly at: string }
  | { readonly type: 'event'; readonly event: StoreEvent };

/** Writes that are kept together or not at all. */
export type Batch = {
  /** In the order of versions. */
  readonly entries: readonly Entry[];
  /** The counter after the batch. */
  readonly version: number;
  /** History up to this version may go. */
  readonly forgotten: number;
  /** Whether it holds intent, which must survive a power cut. */
  readonly durable: boolean;
};

export type Journal = {
  /** One call at a time. When it throws, nothing of the batch counts. @throws OffshootError store/no-space, store/write-failed */
  write(batch: Batch): Promise<void>;
  close(): Promise<void>;
};

/** What was kept before. */
export type Kept = {
  /** By kind, in order of creation. */
  readonly objects: Iterable<Stored<Kind>>;
  readonly history: Iterable<HistoryEntry>;
  readonly version: number;
  readonly forgotten: number;
};

/** An object's end, or an event. */
export type HistoryEntry = {
  readonly version: number;
  readonly kind: Kind;
  readonly name: string;
  readonly event?: StoreEvent;
};
