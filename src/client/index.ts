/** Typed calls to the API: the only way the command line (and later the dashboard) gets in. */
import type { BranchAddress, RolePasswords } from '../model/branch.ts';
import type { LeftOut } from '../model/document/manifest-kinds.ts';
import type { EnvironmentConfig, EnvironmentOwner } from '../model/environment.ts';
import type { ImageMap } from '../model/image.ts';
import type { ImportFrom, ImportWish } from '../model/import.ts';
import type { SuggestedRule } from '../model/mask.ts';
import type { FolderCode, Migration } from '../model/migration.ts';
import type { ResourcePlugin } from '../model/plugin.ts';
import type { Sandbox, WorkloadKey } from '../model/sandbox.ts';
import type { ServerSettings } from '../model/server-settings.ts';
import type { SourceAddress } from '../model/source-address.ts';
import type { Surroundings } from '../model/surroundings.ts';
import type {
  AuthorityView,
  BranchView,
  CheckView,
  DeletedView,
  DiskView,
  EventView,
  HistoryView,
  IdentityView,
  ImageView,
  InsightView,
  KeyView,
  ManifestView,
  MetricsView,
  MissingImageView,
  PlannedManifestView,
  PluginView,
  ProjectView,
  RepairView,
  SandboxView,
  StatusView,
  TrashView,
} from '../model/view.ts';
import { type Connection, type RequestOptions, sendForJson, type Way } from './http.ts';
import { type LogFilter, logs } from './logs.ts';
import { type WatchEvent, type WatchFilter, watch } from './watch.ts';

export type { Connection, LogFilter, WatchEvent, WatchFilter, Way };

/** See api/manifest-request.ts. */
export type ManifestRequest = {
  readonly files: readonly {
    readonly file: string;
    readonly text: string;
    readonly path?: string;
    readonly found?: boolean;
  }[];
  readonly namespace?: string;
  readonly folder?: string;
  readonly images?: ImageMap;
  readonly strict?: boolean;
  readonly takeOver?: boolean;
  readonly prune?: { readonly paths: readonly string[]; readonly recursive?: boolean };
};

export type ManifestPlan = {
  readonly planned: readonly PlannedManifestView[];
  readonly pruned: readonly ManifestView[];
  /** `known`: they were told at an earlier deploy of the folder. */
  readonly warnings: readonly { readonly text: string; readonly known: boolean }[];
  readonly leftOut: readonly (LeftOut & { readonly known?: boolean })[];
  readonly missingImages: readonly MissingImageView[];
};

export type EnvironmentRequest = {
  readonly owner: EnvironmentOwner;
  readonly config: Omit<EnvironmentConfig, 'copy'>;
  readonly images: ImageMap;
  readonly migrate?: Migration | undefined;
  /** The project file. */
  readonly file: string;
  readonly from?: string | undefined;
  readonly cameFrom?: readonly string[] | undefined;
};

export type AppliedEnvironment = AppliedSandbox & {
  /** Environments that ran the same folder, and keep only their databases. */
  readonly parked: readonly string[];
  /** Absent: it has no database of its own. */
  readonly grownFrom?: string;
};

export type AppliedSandbox = SandboxView & {
  readonly outcome: 'created' | 'updated' | 'unchanged';
  readonly warnings: readonly string[];
  /** Its migrations have changed since they ran, and run again. */
  readonly migrates: boolean;
  /** Forks that are started anew because their code has changed, and what they were made from until now. */
  readonly changed: readonly { sandbox: string; forkOf: WorkloadKey; inputs?: string }[];
};

const part = encodeURIComponent;

/**
 * All methods throw OffshootError; see client/http.ts.
 * @param signal ends every call that waits for its answer
 */
export function createClient(connection: Connection, signal?: AbortSignal) {
  const call = <T>(method: string, path: string, options: RequestOptions = {}): Promise<T> =>
    sendForJson<T>(connection, method, `/api/v1${path}`, { ...options, ...(signal && { signal }) });
  const branches = (project: string) => `/projects/${part(project)}/branches`;
  const manifest = (kind: string, namespace: string, name: string) =>
    `/manifests/${part(kind)}/${part(namespace)}/${part(name)}`;

  return {
    connection,
    logs: (filter: LogFilter, signal: AbortSignal) => logs(connection, filter, signal),
    watch: <T>(filter: WatchFilter, signal: AbortSignal) => watch<T>(connection, filter, signal),

    status: () => call<StatusView>('GET', '/status'),
    metrics: {
      read: () => call<MetricsView>('GET', '/metrics'),
      reset: () => call<MetricsView>('DELETE', '/metrics'),
    },
    authority: () => call<AuthorityView>('GET', '/ca'),
    /** @param name `gateway`, or `workload/PATH` */
    identity: (name: string) => call<IdentityView>('POST', '/identities', { body: { name } }),
    doctor: () => call<readonly CheckView[]>('GET', '/doctor'),
    repair: {
      plan: () => call<readonly RepairView[]>('GET', '/repair'),
      run: () => call<readonly RepairView[]>('POST', '/repair'),
    },
    shutdown: (query: { leave?: boolean } = {}) => call<unknown>('POST', '/shutdown', { query }),
    events: (query: { kind?: string; name?: string; limit?: number } = {}) =>
      call<readonly EventView[]>('GET', '/events', { query }),

    projects: {
      list: () => call<readonly ProjectView[]>('GET', '/projects'),
      create: (body: {
        name: string;
        database?: string | undefined;
        role?: string | undefined;
        branchLimitBytes?: number | undefined;
        maxBranches?: number | undefined;
        sleepAfterSeconds?: number | undefined;
        rolePasswords?: RolePasswords | undefined;
        settings?: ServerSettings | undefined;
        /** A path, or a major version. */
        postgres?: string | undefined;
        from?: ImportFrom | undefined;
        import?: ImportWish | undefined;
      }) => call<ProjectView>('POST', '/projects', { body }),
      get: (name: string) => call<ProjectView>('GET', `/projects/${part(name)}`),
      /** Fills it anew. What is undefined is as the last time. */
      refresh: (
        name: string,
        body: {
          from?: ImportFrom | undefined;
          import?: ImportWish | undefined;
          postgres?: string | undefined;
        } = {},
      ) => call<ProjectView>('POST', `/projects/${part(name)}/import`, { body }),
      cancel: (name: string) => call<ProjectView>('POST', `/projects/${part(name)}/import/cancel`),
      /** Rules of a mask to begin with; nothing is made. */
      suggestMask: (body: { from: SourceAddress; import?: ImportWish | undefined }) =>
        call<readonly SuggestedRule[]>('POST', '/mask-suggestions', { body }),
      /** Looks at a source as an import would; nothing is made. */
      checkMask: (body: { from: SourceAddress; import?: ImportWish | undefined }) =>
        call<{ readonly version: string }>('POST', '/mask-checks', { body }),
      /** What is undefined stays; null: none. */
      limit: (
        name: string,
        body: {
          branchLimitBytes?: number | null | undefined;
          maxBranches?: number | null | undefined;
          sleepAfterSeconds?: number | null | undefined;
        },
      ) => call<ProjectView>('PUT', `/projects/${part(name)}/limit`, { body }),
      /** What becomes of passwords of a team's own roles in branches. */
      rolePasswords: (name: string, passwords: RolePasswords) =>
        call<ProjectView>('PUT', `/projects/${part(name)}/role-passwords`, { body: { passwords } }),
      /** Of the servers of its branches; null: as without. What is not named stays. */
      settings: (name: string, changes: Readonly<Record<string, string | null>>) =>
        call<ProjectView>('PUT', `/projects/${part(name)}/settings`, { body: { settings: changes } }),
      delete: (name: string, query: { now?: boolean } = {}) =>
        call<DeletedView>('DELETE', `/projects/${part(name)}`, { query }),
    },
    /** Dumps that are sent, for `from.file` of a project. */
    uploads: {
      begin: (body: { bytes?: number | undefined }) =>
        call<{ readonly id: string }>('POST', '/uploads', { body }),
      append: (id: string, file: string, offset: number, bytes: Uint8Array) =>
        call<{ readonly bytes: number }>('PUT', `/uploads/${part(id)}/files/${part(file)}`, {
          query: { offset },
          body: bytes,
        }),
      remove: (id: string) => call<unknown>('DELETE', `/uploads/${part(id)}`),
    },
    trash: {
      list: () => call<readonly TrashView[]>('GET', '/trash'),
      restore: (entry: string, body: { as?: string } = {}) =>
        call<TrashView & { readonly object: string }>('POST', `/trash/${part(entry)}/restore`, { body }),
      empty: (entry: string) => call<TrashView>('DELETE', `/trash/${part(entry)}`),
      emptyAll: () => call<{ readonly entries: number }>('DELETE', '/trash'),
    },
    branches: {
      list: (project: string) => call<readonly BranchView[]>('GET', branches(project)),
      get: (project: string, branch: string) =>
        call<BranchView>('GET', `${branches(project)}/${part(branch)}`),
      insight: (project: string, branch: string) =>
        call<InsightView>('GET', `${branches(project)}/${part(branch)}/insight`),
      create: (
        project: string,
        body: {
          name: string;
          parent?: string;
          owner?: string | undefined;
          limitBytes?: number | undefined;
          sleepAfterSeconds?: number | undefined;
          ttl?: string | undefined;
          at?: string | undefined;
        },
      ) => call<BranchView>('POST', branches(project), { body }),
      history: (project: string, branch: string) =>
        call<HistoryView>('GET', `${branches(project)}/${part(branch)}/history`),
      /** @param history null: none */
      setHistory: (
        project: string,
        branch: string,
        history: { keepSeconds: number; everySeconds?: number } | null,
      ) => call<HistoryView>('PUT', `${branches(project)}/${part(branch)}/history`, { body: { history } }),
      /** @param at RFC 3339 */
      restore: (project: string, branch: string, body: { at: string; force?: boolean | undefined }) =>
        call<BranchView>('POST', `${branches(project)}/${part(branch)}/restore`, { body }),
      delete: (
        project: string,
        branch: string,
        query: { force?: boolean; owner?: string | undefined; now?: boolean; recursive?: boolean } = {},
      ) => call<BranchView>('DELETE', `${branches(project)}/${part(branch)}`, { query }),
      /** @param limitBytes null: as the project says */
      limit: (project: string, branch: string, limitBytes: number | null) =>
        call<BranchView>('PUT', `${branches(project)}/${part(branch)}/limit`, { body: { limitBytes } }),
      /** @param query `check`: says when somebody has set another password by SQL */
      credentials: (project: string, branch: string, query: { check?: boolean } = {}) =>
        call<BranchAddress & { readonly connectionString: string; readonly outdated?: true }>(
          'GET',
          `${branches(project)}/${part(branch)}/credentials`,
          { query },
        ),
      /** Answers when it sleeps. @param force its sessions end */
      sleep: (project: string, branch: string, body: { force?: boolean | undefined } = {}) =>
        call<BranchView>('POST', `${branches(project)}/${part(branch)}/sleep`, { body }),
      wake: (project: string, branch: string) =>
        call<BranchView>('POST', `${branches(project)}/${part(branch)}/wake`),
      /** @param sleepAfterSeconds 0: never; null: as the project says */
      sleepAfter: (project: string, branch: string, sleepAfterSeconds: number | null) =>
        call<BranchView>('PUT', `${branches(project)}/${part(branch)}/sleep-after`, {
          body: { sleepAfterSeconds },
        }),
      /** Of its own server; null: as its project says. What is not named stays. */
      settings: (project: string, branch: string, changes: Readonly<Record<string, string | null>>) =>
        call<BranchView>('PUT', `${branches(project)}/${part(branch)}/settings`, {
          body: { settings: changes },
        }),
      /** @param silentAfterSeconds null: never */
      silentAfter: (project: string, branch: string, silentAfterSeconds: number | null) =>
        call<BranchView>('PUT', `${branches(project)}/${part(branch)}/silent-after`, {
          body: { silentAfterSeconds },
        }),
      restart: (project: string, branch: string) =>
        call<BranchView>('POST', `${branches(project)}/${part(branch)}/restart`),
      /** @param port null: none of its own */
      port: (project: string, branch: string, port: number | null) =>
        call<BranchView>('PUT', `${branches(project)}/${part(branch)}/port`, { body: { port } }),
      /** @param ttl from now on, e.g. `2h`; null: it stays */
      ttl: (project: string, branch: string, ttl: string | null) =>
        call<BranchView>('PUT', `${branches(project)}/${part(branch)}/ttl`, { body: { ttl } }),
      rename: (project: string, branch: string, name: string) =>
        call<BranchView>('PUT', `${branches(project)}/${part(branch)}/name`, { body: { name } }),
      protect: (project: string, branch: string, wanted: boolean) =>
        call<BranchView>('PUT', `${branches(project)}/${part(branch)}/protection`, {
          body: { protected: wanted },
        }),
      /** @param to an ancestor; absent: the parent */
      reset: (
        project: string,
        branch: string,
        body: { to?: string | undefined; at?: string | undefined; force?: boolean | undefined } = {},
      ) => call<BranchView>('POST', `${branches(project)}/${part(branch)}/reset`, { body }),
      rotatePassword: (project: string, branch: string, query: { keepSessions?: boolean } = {}) =>
        call<BranchView>('POST', `${branches(project)}/${part(branch)}/rotate-password`, { query }),
    },
    sandboxes: {
      list: () => call<readonly SandboxView[]>('GET', '/sandboxes'),
      get: (name: string) => call<SandboxView>('GET', `/sandboxes/${part(name)}`),
      /** @param code what the project file above the document says */
      apply: ({ name, spec }: Sandbox, code: FolderCode = {}) =>
        call<AppliedSandbox>('PUT', `/sandboxes/${part(name)}`, { body: { name, spec, ...code } }),
      delete: (name: string, query: { force?: boolean; recursive?: boolean } = {}) =>
        call<SandboxView & { readonly already: boolean }>('DELETE', `/sandboxes/${part(name)}`, { query }),
      /** @param body the endpoint, default: the first; and a path of it */
      link: (name: string, body: { endpoint?: string | undefined; path?: string | undefined }) =>
        call<{ readonly endpoint: string; readonly preview: string; readonly url: string }>(
          'POST',
          `/sandboxes/${part(name)}/links`,
          { body },
        ),
      environment: (name: string, query: { workload?: string | undefined } = {}) =>
        call<Readonly<Record<string, string>>>('GET', `/sandboxes/${part(name)}/environment`, { query }),
    },
    environments: {
      /** See rules/environments.ts. */
      apply: (body: EnvironmentRequest) => call<AppliedEnvironment>('PUT', '/environments', { body }),
      /** @param owner what has the folder now, and no environment */
      park: (owner: EnvironmentOwner) =>
        call<{ readonly parked: readonly string[] }>('POST', '/environments/park', { body: { owner } }),
      /** @param to what the git branch of the owner is called now */
      rename: (owner: EnvironmentOwner, to: string) =>
        call<{ readonly name?: string }>('POST', '/environments/rename', { body: { owner, to } }),
    },
    plugins: {
      list: () => call<readonly PluginView[]>('GET', '/resource-plugins'),
      get: (name: string) => call<PluginView>('GET', `/resource-plugins/${part(name)}`),
      apply: (body: ResourcePlugin) =>
        call<PluginView & { readonly outcome: 'created' | 'unchanged' }>(
          'PUT',
          `/resource-plugins/${part(body.name)}`,
          { body },
        ),
      delete: (name: string) => call<{ readonly name: string }>('DELETE', `/resource-plugins/${part(name)}`),
    },
    manifests: {
      list: () => call<readonly ManifestView[]>('GET', '/manifests'),
      apply: (body: ManifestRequest) =>
        call<
          Pick<ManifestPlan, 'pruned' | 'warnings' | 'leftOut' | 'missingImages'> & {
            readonly applied: readonly (ManifestView & {
              readonly outcome: 'created' | 'configured' | 'replaced' | 'unchanged';
            })[];
            /** Workloads that are not among them, and are made anew because of them. */
            readonly affected: readonly ManifestView[];
            /** Forks that are made anew because of them, and what they are made from until then. */
            readonly forks: readonly {
              readonly sandbox: string;
              readonly forkOf: WorkloadKey;
              readonly inputs?: string;
            }[];
          }
        >('PUT', '/manifests', { body }),
      /** What `apply` would do. */
      plan: (body: ManifestRequest) =>
        call<ManifestPlan>('PUT', '/manifests', { body: { ...body, dryRun: true } }),
      /** All of them, or none. */
      deleteAll: (objects: readonly { kind: string; namespace: string; name: string }[]) =>
        call<readonly ManifestView[]>('POST', '/manifests/delete', { body: { objects } }),
      delete: (kind: string, namespace: string, name: string) =>
        call<ManifestView>('DELETE', manifest(kind, namespace, name)),
    },
    disks: {
      list: (query: { sizes?: boolean } = {}) => call<readonly DiskView[]>('GET', '/disks', { query }),
      delete: (namespace: string, claim: string) =>
        call<unknown>('DELETE', `/disks/${part(namespace)}/${part(claim)}`),
    },
    /** Another start of what is named, see model/program-selector.ts. */
    restart: (body: {
      of: readonly string[];
      namespace?: string | undefined;
      project?: string | undefined;
    }) =>
      call<{
        readonly workloads: readonly ManifestView[];
        /** With what each was made from until now. */
        readonly forks: readonly { sandbox: string; forkOf: WorkloadKey; inputs?: string }[];
        readonly branches: readonly BranchView[];
      }>('POST', '/restarts', { body }),
    /** Where a container runs on the server's machine; see api/entrances.ts. */
    enter: (body: {
      of: string;
      namespace?: string | undefined;
      container?: string | undefined;
      program: string;
    }) => call<Surroundings>('POST', '/entrances', { body }),
    images: {
      list: () => call<readonly ImageView[]>('GET', '/images'),
      remove: (query: { folder: string; image: string }) => call<unknown>('DELETE', '/images', { query }),
    },
    keys: {
      list: () => call<readonly KeyView[]>('GET', '/keys'),
      create: (name: string) => call<KeyView & { readonly key: string }>('POST', '/keys', { body: { name } }),
      revoke: (id: string) => call<KeyView>('DELETE', `/keys/${part(id)}`),
    },
  };
}

export type Client = ReturnType<typeof createClient>;
