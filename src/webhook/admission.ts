/** What the API server asks a webhook, and what it is answered (admission.k8s.io/v1). */

export type AdmissionRequest = {
  readonly uid: string;
  readonly kind: { readonly group: string; readonly version: string; readonly kind: string };
  readonly operation: 'CREATE' | 'UPDATE' | 'DELETE' | 'CONNECT';
  readonly namespace?: string;
  readonly name?: string;
  readonly object: unknown;
  readonly oldObject?: unknown;
};

export type Verdict = {
  readonly allowed: boolean;
  /** Why not; what the client is told. */
  readonly message?: string;
  /** Of HTTP. */
  readonly code?: number;
  /** What the client is told although it is allowed, a sentence each. */
  readonly warnings?: readonly string[];
  readonly patch?: readonly PatchOperation[];
};

/** RFC 6902. `add` also replaces a member of an object. */
export type PatchOperation = { readonly op: 'add'; readonly path: string; readonly value: unknown };

/** @returns undefined for what is no such request */
export function admissionRequest(body: unknown): AdmissionRequest | undefined {
  const { request } = (body ?? {}) as { readonly request?: Partial<AdmissionRequest> };
  const { uid, kind, operation } = request ?? {};
  if (typeof uid !== 'string' || typeof kind?.kind !== 'string' || typeof operation !== 'string')
    return undefined;
  return request as AdmissionRequest;
}

export const admissionReview = (uid: string, verdict: Verdict): object => {
  const { allowed, message, code = 422, warnings = [], patch = [] } = verdict;
  return {
    ...{ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview' },
    response: {
      ...{ uid, allowed },
      ...(!allowed && { status: { code, message: message ?? 'refused' } }),
      // The API server cuts longer ones, and drops those that are too many.
      ...(warnings.length > 0 && { warnings: warnings.slice(0, 20).map(one => one.slice(0, 250)) }),
      ...(patch.length > 0 && {
        patchType: 'JSONPatch',
        patch: Buffer.from(JSON.stringify(patch)).toString('base64'),
      }),
    },
  };
};
