/** Which settings servers have: a project's for all its branches, and those of one branch. */

import { OffshootError } from '../model/errors.ts';
import { MOST_SETTINGS, settingsAfter } from '../model/server-settings.ts';
import type { Store, Stored } from '../store/contract.ts';
import { requireProject } from './branches.ts';
import { holding } from './locks.ts';

/** By name; null: as it is without. */
export type SettingsChange = Readonly<Record<string, string | null>>;

/** Those of servers that run take hold at once: they start anew. @throws OffshootError settings/wrong, api/not-found */
export const changeProjectSettings = (
  store: Store,
  name: string,
  changes: SettingsChange,
): Promise<Stored<'project'>> =>
  holding(store, { alone: [`project/${name}`] }, async () => {
    const settings = settled(requireProject(store, name).spec.settings, changes);
    const changed = await store.modify('project', name, ({ spec: { settings: _, ...rest } }) => ({
      spec: { ...rest, ...(settings && { settings }) },
    }));
    return changed!;
  });

/** The same for one branch, before those of its project. @throws OffshootError settings/wrong */
export const changeBranchSettings = (
  store: Store,
  { name: id }: Stored<'branch'>,
  changes: SettingsChange,
): Promise<void> =>
  holding(store, { alone: [`branch/${id}`] }, async () => {
    const settings = settled(store.get('branch', id)?.spec.settings, changes);
    await store.modify('branch', id, ({ spec: { settings: _, ...rest } }) => ({
      spec: { ...rest, ...(settings && { settings }) },
    }));
  });

// --- internal -----------------------------------------------------------------------------------

function settled(before: Stored<'project'>['spec']['settings'], changes: SettingsChange) {
  const after = settingsAfter(before, changes);
  if (Object.keys(after ?? {}).length > MOST_SETTINGS)
    throw new OffshootError('settings/wrong', { problems: `there are more than ${MOST_SETTINGS}` });
  return after;
}
