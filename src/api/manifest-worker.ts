/** The thread of `manifest-reader.ts`. Tells in pieces, because what a message holds is rebuilt in one go. */
import { parentPort, workerData } from 'node:worker_threads';
import type { Kept } from '../model/document/manifest-warnings.ts';
import { type ErrorCode, type ErrorParams, toOffshootError } from '../model/errors.ts';
import type { Manifest } from '../model/kubernetes.ts';
import { type ManifestRequest, readManifestRequest } from './manifest-request.ts';

export type Told =
  | { readonly type: 'manifests'; readonly manifests: readonly Manifest[] }
  | { readonly type: 'read'; readonly request: ManifestRequest }
  | {
      readonly type: 'failed';
      readonly code: ErrorCode;
      readonly params: ErrorParams;
      readonly problems?: readonly unknown[];
    };

/** Characters of JSON of one piece. */
const pieceLength = 128 * 1024;

const tell = (told: Told): void => parentPort!.postMessage(told);

const { bytes, keeps } = workerData as { bytes: Uint8Array; keeps: readonly Kept[] };
try {
  const request = readManifestRequest(bytes, keeps);
  let piece: Manifest[] = [];
  let length = 0;
  const flush = () => {
    if (piece.length > 0) tell({ type: 'manifests', manifests: piece });
    piece = [];
    length = 0;
  };
  for (const manifest of request.read.manifests) {
    piece.push(manifest);
    length += JSON.stringify(manifest).length;
    if (length > pieceLength) flush();
  }
  flush();
  tell({ type: 'read', request: { ...request, read: { ...request.read, manifests: [] } } });
} catch (thrown) {
  const { code, params, problems } = toOffshootError(thrown);
  tell({ type: 'failed', code, params, ...(problems && { problems }) });
}
