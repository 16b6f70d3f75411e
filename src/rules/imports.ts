/** Intents about data that come from elsewhere: one import into a project at a time, and which was the newest. */
import type { ChosenPostgres, ProjectSecret } from '../model/branch.ts';
import { OffshootError } from '../model/errors.ts';
import type { ImportOptions, ImportSource, ImportSpec, ImportWish } from '../model/import.ts';
import { readMaskRules } from '../model/mask.ts';
import type { Store, Stored } from '../store/contract.ts';
import { allBranchesOf, requireProject } from './branches.ts';
import { holding } from './locks.ts';

/** @param before the one before, if any */
export const newImport = (
  before: ImportSpec | undefined,
  source: ImportSource,
  options: ImportOptions,
): ImportSpec => ({ ...options, source, count: (before?.count ?? 0) + 1, at: new Date().toISOString() });

/** @throws OffshootError mask/bad-rules */
export function optionsOf({ mask, ...options }: ImportWish = {}): ImportOptions {
  // Without what is undefined, which the store does not hold.
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return { ...Object.fromEntries(given), ...(mask && { mask: readMaskRules(mask) }) };
}

/**
 * What a refresh is to do: what is said takes the place of all that was said before, but a mask stays until somebody says
 * otherwise, for nothing is to come unmasked because another option was given.
 * @param isFile a dump comes: what only a server can be asked for was not meant for it
 * @throws OffshootError mask/bad-rules
 */
export function optionsAfter(
  before: ImportSpec | undefined,
  wish: ImportWish | undefined,
  isFile = false,
): ImportOptions {
  const known = isFile ? ofFile(optionsBefore(before)) : optionsBefore(before);
  if (wish === undefined) return known;
  const { mask, ...others } = wish;
  const saysMore = Object.values(others).some(value => value !== undefined);
  const { mask: rules, ...rest } = saysMore ? { ...optionsOf(others), mask: known.mask } : known;
  if (mask === false) return rest;
  const next = mask === undefined ? rules : readMaskRules(mask);
  return { ...rest, ...(next && { mask: next }) };
}

/** A mask is not forgotten, though a dump cannot have one: that is refused. */
const ofFile = ({ schemaOnly, mask }: ImportOptions): ImportOptions => ({
  ...(schemaOnly !== undefined && { schemaOnly }),
  ...(mask && { mask }),
});

/** What was asked for the last time. */
function optionsBefore(before: ImportSpec | undefined): ImportOptions {
  if (before === undefined) return {};
  const { count: _, source: __, at: ___, cancelled: ____, ...options } = before;
  return options;
}

/** @throws OffshootError import/runs */
export function checkNoImportRuns(store: Store, name: string): void {
  if (isRunning(store, name)) throw new OffshootError('import/runs', { project: name });
}

/**
 * Fills a project anew: what is there serves until all has come.
 * @param postgres by which it is made; undefined: ours
 * @throws OffshootError import/runs, api/not-found
 */
export const importInto = (
  store: Store,
  name: string,
  next: ImportSpec,
  { sealed, maskSecret }: ProjectSecret,
  postgres?: ChosenPostgres,
): Promise<Stored<'project'>> =>
  holding(store, { alone: [`project/${name}`] }, async () => {
    requireProject(store, name);
    checkNoImportRuns(store, name);
    const changed = await store.modify('project', name, ({ spec: { postgres: _, ...spec }, secret }) => ({
      spec: { ...spec, import: next, ...(postgres && { postgres }) },
      // Two that came to it at once agree on the first one's.
      secret: {
        ...secret,
        ...(sealed && { sealed }),
        ...(maskSecret && { maskSecret: secret?.maskSecret ?? maskSecret }),
      },
    }));
    return changed!;
  });

/** @throws OffshootError import/none-runs, api/not-found */
export const cancelImport = (store: Store, name: string): Promise<Stored<'project'>> =>
  holding(store, { alone: [`project/${name}`] }, async () => {
    requireProject(store, name);
    if (!isRunning(store, name)) throw new OffshootError('import/none-runs', { project: name });
    const changed = await store.modify('project', name, ({ spec }) =>
      spec.import === undefined
        ? undefined
        : { spec: { ...spec, import: { ...spec.import, cancelled: true } } },
    );
    return changed!;
  });

// --- internal -----------------------------------------------------------------------------------

/** The newest that was asked for has neither come nor failed. */
function isRunning(store: Store, name: string): boolean {
  const wanted = store.get('project', name)?.spec.import;
  if (wanted === undefined) return false;
  const root = allBranchesOf(store, name).find(b => b.spec.parent === undefined);
  const seen = root?.status?.import;
  return seen?.count !== wanted.count || seen.state === 'running';
}
