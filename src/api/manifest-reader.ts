/** Reading manifests costs time by their length: what is long is read in a thread of its own, and comes back in pieces. */
import { Worker } from 'node:worker_threads';
import { programFile } from '../lib/checkout.ts';
import type { Kept } from '../model/document/manifest-warnings.ts';
import { OffshootError } from '../model/errors.ts';
import type { Manifest } from '../model/kubernetes.ts';
import { type ManifestRequest, readManifestRequest } from './manifest-request.ts';
import type { Told } from './manifest-worker.ts';

/** Bytes from which a thread is worth its start (about 150 ms). */
const long = 64 * 1024;
/** Of the thread; the nodes of a document are some hundred times its text. */
const memoryMiB = 2_048;

/** @throws as `readManifestRequest`; document/too-large */
export async function readManifestsAside(
  bytes: Uint8Array,
  keeps: readonly Kept[],
  { deadlineMs = 120_000 }: { readonly deadlineMs?: number } = {},
): Promise<ManifestRequest> {
  if (bytes.length < long) return readManifestRequest(bytes, keeps);
  const before = last;
  const turn = Promise.withResolvers<void>();
  last = turn.promise;
  await before; // one at a time: each may take much memory
  try {
    return await inThread(bytes, keeps, deadlineMs);
  } finally {
    turn.resolve();
  }
}

// --- internal -----------------------------------------------------------------------------------

let last: Promise<void> = Promise.resolve();

function inThread(bytes: Uint8Array, keeps: readonly Kept[], deadlineMs: number): Promise<ManifestRequest> {
  const { length } = bytes;
  const worker = new Worker(programFile('api/manifest-worker'), {
    workerData: { bytes, keeps },
    // Handed over where it is ours alone: a copy would keep everybody waiting.
    transferList: bytes.byteLength === bytes.buffer.byteLength ? [bytes.buffer as ArrayBuffer] : [],
    resourceLimits: { maxOldGenerationSizeMb: memoryMiB },
  });
  const manifests: Manifest[] = [];
  return new Promise<ManifestRequest>((resolve, reject) => {
    const timer = setTimeout(
      () => reject(tooLarge(length, `it took longer than ${deadlineMs / 1000} s`)),
      deadlineMs,
    );
    worker.on('message', (told: Told) => {
      if (told.type === 'manifests') manifests.push(...told.manifests);
      else if (told.type === 'failed')
        reject(
          new OffshootError(told.code, told.params, { ...(told.problems && { problems: told.problems }) }),
        );
      else resolve({ ...told.request, read: { ...told.request.read, manifests } });
    });
    worker.on('error', cause => {
      const full = (cause as NodeJS.ErrnoException).code === 'ERR_WORKER_OUT_OF_MEMORY';
      reject(full ? tooLarge(length, 'it needs too much memory') : cause);
    });
    worker.on('exit', () => {
      clearTimeout(timer);
      reject(tooLarge(length, 'it was given up'));
    });
  }).finally(() => void worker.terminate());
}

const tooLarge = (length: number, why: string) =>
  new OffshootError('document/too-large', { size: `${Math.ceil(length / 2 ** 20)} MiB`, why });
