/** How a pod asks for a sidecar, in our words and in those of Signadot; what is put into it, and what is said of it there. */

export const sidecarAnnotations = {
  /** `true` or `false`, on a pod's template or, for all of its pods that say nothing, on a namespace. */
  inject: ['sidecar.offshoot.dev/inject', 'sidecar.signadot.com/inject'],
  /** Of a pod's template: its ports, when they are not all that it declares and that Services lead to; `8080,9090`. */
  ports: 'sidecar.offshoot.dev/ports',
  /** Written by us: `injected`, or why not. */
  status: 'sidecar.offshoot.dev/status',
} as const;

/** Names of what is put into a pod. */
export const sidecarNames = {
  container: 'offshoot-sidecar',
  redirect: 'offshoot-redirect',
  token: 'offshoot-token',
  table: 'offshoot-table',
} as const;

type Said = {
  readonly annotations?: Readonly<Record<string, string>>;
  readonly labels?: Readonly<Record<string, string>>;
};

/** Our own word goes before the other, the pod's before its namespace's. A label counts as an annotation does. */
export const wantsSidecar = (pod: Said, namespace: Said): boolean =>
  wishOf(pod) ?? wishOf(namespace) ?? false;

// --- internal ------------------------------------------------------------------------------------

/** Signadot's older versions said which protocol, which we find out. */
const yes = ['true', 'http', 'grpc'];

function wishOf({ annotations = {}, labels = {} }: Said): boolean | undefined {
  for (const name of sidecarAnnotations.inject) {
    const said = annotations[name] ?? labels[name];
    if (said !== undefined) return yes.includes(said.toLowerCase());
  }
  return undefined;
}
