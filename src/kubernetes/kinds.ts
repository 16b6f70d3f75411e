/**
 * What the kinds of our store are called as objects of a cluster. The custom resource definitions are generated from
 * this table; the store on a cluster reads and writes by it.
 *
 * An object's `spec` is exactly the document's. What must never leave through the API (`secret` in the store) is in a
 * Secret of its own beside it, which the object names by an annotation and owns.
 */
import { createHash } from 'node:crypto';
import { canonicalPluginName } from '../model/plugin-name.ts';

/** Names of our labels and annotations begin with it, too. */
export const group = 'offshoot.dev';
export const version = 'v1alpha1';
export const apiVersion = `${group}/${version}`;

export type ClusterKind = {
  /** As `kind` in a document for kubectl. */
  readonly kind: string;
  readonly plural: string;
  readonly singular: string;
  readonly shortNames: readonly string[];
  /** It has something that only a Secret may hold. */
  readonly secret: boolean;
  /** It has a status, which is a subresource. */
  readonly status: boolean;
  /** It stands for something that must be taken down before it may go, so it keeps our finalizer. */
  readonly finalizer: boolean;
};

/**
 * By kind of the store. All are namespaced and live in the installation's namespace. Manifests, folders and namespaces of
 * the store have no place here: in a cluster the cluster itself holds them.
 */
export const clusterKinds = {
  project: {
    ...{ kind: 'Project', plural: 'projects', singular: 'project', shortNames: ['pgproj'] },
    ...{ secret: false, status: false, finalizer: true },
  },
  branch: {
    ...{ kind: 'Branch', plural: 'branches', singular: 'branch', shortNames: ['pgbr'] },
    ...{ secret: true, status: true, finalizer: true },
  },
  sandbox: {
    ...{ kind: 'Sandbox', plural: 'sandboxes', singular: 'sandbox', shortNames: ['sbx'] },
    ...{ secret: true, status: true, finalizer: true },
  },
  plugin: {
    ...{
      kind: 'ResourcePlugin',
      plural: 'resourceplugins',
      singular: 'resourceplugin',
      shortNames: ['rplug'],
    },
    ...{ secret: false, status: false, finalizer: false },
  },
  tombstone: {
    ...{ kind: 'Tombstone', plural: 'tombstones', singular: 'tombstone', shortNames: [] },
    ...{ secret: false, status: false, finalizer: false },
  },
  key: {
    ...{ kind: 'APIKey', plural: 'apikeys', singular: 'apikey', shortNames: [] },
    ...{ secret: false, status: false, finalizer: false },
  },
} as const satisfies Record<string, ClusterKind>;

/** Kinds of the store that are objects of a cluster. */
export type KeptKind = keyof typeof clusterKinds;

export const keptKinds = Object.keys(clusterKinds) as readonly KeptKind[];

export const isKept = (kind: string): kind is KeptKind => Object.hasOwn(clusterKinds, kind);

/** Kept until everything that the object stands for is gone. */
export const finalizer = `${group}/taken-down`;

export const annotations = {
  /** The object's name in the store, where its own cannot tell. */
  name: `${group}/name`,
  /** Name of the Secret that belongs to it. */
  secret: `${group}/secret`,
  /** When it was made, to the millisecond; the cluster's own time counts seconds. */
  created: `${group}/created`,
  /** `GENERATION TIME`: when its spec became what it is in that generation. */
  updated: `${group}/updated`,
  /** When it was told to go. Who finds this on an object that has no deletionTimestamp deletes it. */
  deleted: `${group}/deleted`,
  /** Of a Secret: the resourceVersion of the object that it was made for. */
  basedOn: `${group}/based-on`,
  /** Of a branch node's Lease: what it says of itself, as JSON. */
  branchNode: `${group}/state`,
  /** Of the Lease of controllers: where the one that holds it is reached, as JSON. */
  controller: `${group}/controller`,
} as const;

export const labels = {
  /** Of a Secret: the kind in the store of the object that it belongs to. */
  kind: `${group}/secret-of`,
  /** Of a Lease: the branch node that says by it that it is there. */
  branchNode: `${group}/branch-node`,
} as const;

/**
 * What an object is called in the cluster (RFC 1123 subdomain): its name, and `bare.1.2.0` for the plugin `bare@1.2.0`,
 * `bare` for version 0.0.0. What cannot be such a name becomes a hash, and an annotation has the name itself.
 */
export function objectName(kind: KeptKind, name: string): string {
  const plain = kind === 'plugin' ? pluginObjectName(name) : name;
  if (SUBDOMAIN.test(plain) && plain.length <= 253) return plain;
  return `x-${createHash('sha256').update(name).digest('hex').slice(0, 40)}`;
}

/** The way back. @param said the annotation, where there is one */
export function storedName(kind: KeptKind, name: string, said?: string): string {
  if (said !== undefined) return said;
  if (kind !== 'plugin') return name;
  const dot = name.indexOf('.');
  const { bare, version } = canonicalPluginName(
    dot < 0 ? name : `${name.slice(0, dot)}@${name.slice(dot + 1)}`,
  );
  return `${bare}@${version}`;
}

// --- internal -----------------------------------------------------------------------------------

const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

function pluginObjectName(name: string): string {
  const [bare = '', version = '0.0.0'] = name.split('@');
  return version === '0.0.0' ? bare : `${bare}.${version}`;
}
