import { z } from 'zod';
import type { ChosenPostgres } from '../model/branch.ts';
import { OffshootError } from '../model/errors.ts';
import { type ImportFrom, isFile, type SourceServer } from '../model/import.ts';
import { settingsAfter } from '../model/server-settings.ts';
import type { SourceAddress } from '../model/source-address.ts';
import {
  checkProject,
  createProject,
  deleteProject,
  isPlainName,
  limitProject,
  listedProjects,
  passwordsOfRoles,
  requireProject,
} from '../rules/branches.ts';
import {
  cancelImport,
  checkNoImportRuns,
  importInto,
  newImport,
  optionsAfter,
  optionsOf,
} from '../rules/imports.ts';
import { changeProjectSettings } from '../rules/settings.ts';
import { trashProject } from '../rules/trash.ts';
import { settingsBody, sleepAfterSeconds } from './branches.ts';
import type { ApiContext, ImportsAtHand } from './context.ts';
import { checked, flag } from './input.ts';
import { answer, type Routes } from './routes.ts';
import { projectView } from './views.ts';

/** See model/import.ts. */
const wishes = z.strictObject({
  schemaOnly: z.boolean().optional(),
  tables: z.array(z.string().max(200)).max(1000).optional(),
  exclude: z.array(z.string().max(200)).max(1000).optional(),
  where: z.record(z.string().max(200), z.string().max(10_000)).optional(),
  verify: z.boolean().optional(),
  jobs: z.int().min(1).max(16).optional(),
  /** As a file of rules has it; false: none from now on. */
  mask: z.union([z.literal(false), z.record(z.string(), z.unknown())]).optional(),
});

const fromServer = z.strictObject({
  server: z.strictObject({
    host: z.string().min(1).max(1024),
    port: z.int().min(1).max(65_535),
    user: z.string().min(1).max(255),
    database: z.string().min(1).max(255),
    sslmode: z.enum(['disable', 'prefer', 'require', 'verify-ca', 'verify-full']),
    authorities: z.string().max(1_000_000).optional(),
  }),
  password: z.string().max(10_000),
});

/** A dump that was sent here, see uploads.ts. */
const fromFile = z.strictObject({
  file: z.strictObject({ file: z.string().min(1).max(255), upload: z.string().min(1).max(100) }),
});

const from = z.union([fromServer, fromFile]);

/** See model/branch.ts. */
const rolePasswords = z.enum(['ended', 'kept', 'branch']);

/** A path, or a major version. */
const postgres = z.string().min(1).max(4_096);

const body = z.strictObject({
  name: z.string(),
  /** Default: as the source has it, where that is a plain name; otherwise `app`. */
  database: z.string().optional(),
  role: z.string().optional(),
  from: from.optional(),
  import: wishes.optional(),
  branchLimitBytes: z.int().positive().optional(),
  maxBranches: z.int().nonnegative().optional(),
  sleepAfterSeconds: sleepAfterSeconds.optional(),
  rolePasswords: rolePasswords.optional(),
  settings: z.record(z.string().min(1).max(63), z.string().max(253)).optional(),
  postgres: postgres.optional(),
});

const refreshBody = z.strictObject({
  from: from.optional(),
  import: wishes.optional(),
  postgres: postgres.optional(),
});

const suggestBody = z.strictObject({ from: fromServer, import: wishes.optional() });

/** What is not named stays; null: none. */
const limitBody = z.strictObject({
  branchLimitBytes: z.int().positive().nullable().optional(),
  maxBranches: z.int().nonnegative().nullable().optional(),
  sleepAfterSeconds: sleepAfterSeconds.nullable().optional(),
});

/** `now`: for good, not into the trash. */
const deleteQuery = z.strictObject({ now: flag });

export function projectRoutes(
  routes: Routes,
  { store, baseline, trash, imports, branches }: ApiContext,
): void {
  const choose = async (wanted: string | undefined): Promise<ChosenPostgres | undefined> => {
    if (wanted === undefined) return undefined;
    if (branches.choosePostgres === undefined) throw new OffshootError('postgres/not-here');
    return await branches.choosePostgres(wanted);
  };

  routes.get('/projects', async () => listedProjects(store).map(p => projectView(store, p)));

  routes.get<{ name: string }>('/projects/:name', async ({ params }) =>
    projectView(store, requireProject(store, params.name)),
  );

  routes.post('/projects', async request => {
    const { name, branchLimitBytes, maxBranches, sleepAfterSeconds, rolePasswords, settings, ...wish } =
      checked(body, request.body);
    const postgres = await choose(wish.postgres);
    const chosen = settingsAfter(undefined, settings ?? {});
    const limits = {
      ...(branchLimitBytes !== undefined && { branchLimitBytes }),
      ...(maxBranches !== undefined && { maxBranches }),
      ...(sleepAfterSeconds !== undefined && { sleepAfterSeconds }),
      ...(rolePasswords !== undefined && rolePasswords !== 'ended' && { rolePasswords }),
      ...(chosen && { settings: chosen }),
      ...(postgres && { postgres }),
    };
    const { database = 'app', role = 'app' } = wish;
    if (wish.from === undefined)
      return answer(201, projectView(store, await createProject(store, name, { database, role, ...limits })));
    if (imports === undefined) throw new OffshootError('import/not-here');
    checkProject(name, { database, role, ...limits });
    if (store.get('project', name) !== undefined)
      throw new OffshootError('project/exists', { project: name });
    const options = optionsOf(wish.import);
    const seen = await imports.look(wish.from as ImportFrom, options);
    const spec = {
      database: wish.database ?? plainOr(seen.database, database),
      role: wish.role ?? plainOr(seen.owner, role),
      ...limits,
      import: newImport(undefined, seen.source, options),
    };
    const secret = {
      ...sealedOf(imports, wish.from as ImportFrom),
      ...(options.mask && { maskSecret: imports.newMaskSecret() }),
    };
    const made = await createProject(store, name, spec, secret);
    if ('file' in wish.from) imports.uploads.keep(wish.from.file.upload);
    return answer(201, projectView(store, made));
  });

  /** Fills it anew; what is not said is as it was the last time. */
  routes.post<{ name: string }>('/projects/:name/import', async ({ params: { name }, body }) => {
    const wish = checked(refreshBody, body);
    const { spec, secret } = requireProject(store, name);
    checkNoImportRuns(store, name);
    const before = spec.import;
    const known = before?.source;
    if (wish.from === undefined && known === undefined)
      throw new OffshootError('import/no-source', { project: name });
    if (wish.from === undefined && isFile(known!))
      throw new OffshootError('import/file-gone', { project: name, file: known.file });
    if (imports === undefined) throw new OffshootError('import/not-here');
    const postgres = wish.postgres === undefined ? spec.postgres : await choose(wish.postgres);
    const isSent = wish.from !== undefined && 'file' in wish.from;
    const more = optionsAfter(before, wish.import, isSent);
    const sealed = secret?.sealed ?? [];
    const from = (wish.from as ImportFrom | undefined) ?? { server: known as SourceServer, sealed };
    const { source } = await imports.look(from, more);
    const next = {
      ...('sealed' in from ? { sealed } : sealedOf(imports, from)),
      ...(more.mask && { maskSecret: imports.newMaskSecret() }),
    };
    const again = newImport(before, source, more);
    const begun = await importInto(store, name, again, next, postgres);
    if ('file' in from) imports.uploads.keep(from.file.upload);
    return projectView(store, begun);
  });

  /** Rules to begin with for a source; nothing is made. */
  routes.post('/mask-suggestions', async request => {
    const wish = checked(suggestBody, request.body);
    if (imports === undefined) throw new OffshootError('import/not-here');
    return imports.suggest(wish.from as SourceAddress, optionsOf(wish.import));
  });

  /** Looks at a source as an import would; nothing is made. */
  routes.post('/mask-checks', async request => {
    const wish = checked(suggestBody, request.body);
    if (imports === undefined) throw new OffshootError('import/not-here');
    return imports.look(wish.from as SourceAddress, optionsOf(wish.import));
  });

  /** What was there before stays. */
  routes.post<{ name: string }>('/projects/:name/import/cancel', async ({ params: { name } }) =>
    projectView(store, await cancelImport(store, name)),
  );

  routes.put<{ name: string }>('/projects/:name/limit', async ({ params: { name }, body }) => {
    const now = requireProject(store, name).spec;
    const {
      branchLimitBytes = now.branchLimitBytes,
      maxBranches = now.maxBranches,
      sleepAfterSeconds = now.sleepAfterSeconds,
    } = checked(limitBody, body);
    const limits = {
      ...(typeof branchLimitBytes === 'number' && { branchLimitBytes }),
      ...(typeof maxBranches === 'number' && { maxBranches }),
      ...(typeof sleepAfterSeconds === 'number' && { sleepAfterSeconds }),
    };
    return projectView(store, await limitProject(store, name, limits));
  });

  routes.put<{ name: string }>('/projects/:name/role-passwords', async ({ params: { name }, body }) => {
    const { passwords } = checked(z.strictObject({ passwords: rolePasswords }), body);
    return projectView(store, await passwordsOfRoles(store, name, passwords));
  });

  routes.put<{ name: string }>('/projects/:name/settings', async ({ params: { name }, body }) =>
    projectView(store, await changeProjectSettings(store, name, checked(settingsBody, body).settings)),
  );

  routes.delete<{ name: string }>('/projects/:name', async ({ params, query }) => {
    const { name } = params;
    const { now } = checked(deleteQuery, query);
    if (now || trash.keepMs === 0) {
      await deleteProject(store, baseline, name);
      return answer(202, { name, trashed: null });
    }
    const id = await trashProject(store, baseline, name, trash.keepMs, new Date());
    const { until } = store.get('project', id)!.spec.trashed!;
    return answer(202, { name, trashed: { id, until } });
  });
}

// --- internal -----------------------------------------------------------------------------------

const plainOr = (name: string | undefined, other: string): string =>
  name !== undefined && isPlainName(name) ? name : other;

/** A dump has no password. */
const sealedOf = (imports: ImportsAtHand, from: ImportFrom): { readonly sealed?: readonly string[] } =>
  'file' in from ? {} : { sealed: imports.seal(from.password) };
