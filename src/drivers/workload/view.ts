/** What one container sees of its volumes: mounts of its own, where they are, at paths that the machine need not have. */
import { closeSync, mkdirSync, openSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Bind } from '../../lib/namespaces.ts';
import { makeShadows, shadowProblem } from '../../lib/shadow.ts';
import { StartProblem } from './start-problem.ts';
import type { MountPlan } from './volume-plan.ts';

export type View = {
  /** In the order in which they must be made. */
  readonly binds: readonly Bind[];
  /** What the container has to see as `/`; undefined when that stays as it is. */
  readonly root: string | undefined;
};

/**
 * @param mounts of the container @param placeOf where a volume is @param folder ours, for what the machine lacks
 * @param keep folders that it has to see, whatever is mounted over them
 * @throws StartProblem when there is no way to a path
 */
export async function makeView(
  mounts: readonly MountPlan[],
  placeOf: (volume: string) => string,
  folder: string,
  keep: readonly string[],
): Promise<View> {
  const placed = mounts
    .map(mount => ({ ...mount, source: sourceOf(mount, placeOf(mount.volume)) }))
    // Outer ones first, because inner ones are mounted in them.
    .sort((a, b) => a.path.length - b.path.length);
  const missing: string[] = [];
  for (const { path, source } of placed) {
    const outer = placed.findLast(other => isBelow(other.path, path));
    if (outer !== undefined) makePoint(join(outer.source, path.slice(outer.path.length)), isFolder(source));
    else if (!exists(path) || isFolder(path) !== isFolder(source)) missing.push(path);
  }
  for (const path of missing) {
    const problem = isFolder(path) ? 'it is a folder of the machine' : await shadowProblem(path);
    if (problem !== undefined)
      throw new StartProblem('ConfigError', `nothing can be mounted at ${path}: ${problem}`);
  }
  const shadows = await makeShadows(missing, folder);
  for (const path of missing)
    makePoint(shadows.locate(path), isFolder(placed.find(one => one.path === path)!.source));
  const kept = placed.flatMap(({ path, source }) =>
    keep
      .filter(one => isBelow(path, one) && isFolder(source))
      .map(one => {
        const target = join(source, one.slice(path.length));
        makePoint(target, true);
        return { source: one, target };
      }),
  );
  const { root } = shadows;
  const ofRoot = shadows.binds.filter(({ target }) => root !== undefined && isBelow(root, target));
  const bind = ({ path, source, readOnly }: (typeof placed)[number], at = path): Bind => ({
    ...{ source, target: at },
    ...(readOnly && { readOnly }),
  });
  return {
    root,
    binds: [
      ...kept,
      ...shadows.binds.filter(one => !ofRoot.includes(one)),
      ...ofRoot,
      // In the other root, so that what lies over a folder of ours there leaves us the folder here.
      ...placed.map(one => bind(one, root === undefined ? one.path : join(root, one.path))),
    ],
  };
}

/** The path of this machine at which we find what a container calls `path`. @param keep as in `makeView` */
export function seenFrom(
  path: string,
  mounts: readonly MountPlan[],
  placeOf: (volume: string) => string,
  keep: readonly string[],
): string {
  const mount = mounts
    .filter(one => one.path === path || isBelow(one.path, path))
    .toSorted((a, b) => b.path.length - a.path.length)[0];
  const isKept = (mounted: string) =>
    keep.some(folder => isBelow(mounted, folder) && (path === folder || isBelow(folder, path)));
  if (mount === undefined || isKept(mount.path)) return path;
  return join(placeOf(mount.volume), mount.subPath ?? '', path.slice(mount.path.length));
}

/** A subPath that is not there becomes a folder, as the kubelet does it. */
export function sourceOf({ subPath }: MountPlan, place: string): string {
  if (subPath === undefined) return place;
  const source = join(place, subPath);
  if (statSync(source, { throwIfNoEntry: false }) === undefined) mkdirSync(source, { recursive: true });
  return source;
}

// --- internal -----------------------------------------------------------------------------------

/** Something to mount at. */
function makePoint(path: string, folder: boolean): void {
  if (statSync(path, { throwIfNoEntry: false }) !== undefined) return;
  mkdirSync(folder ? path : dirname(path), { recursive: true });
  if (!folder) closeSync(openSync(path, 'a'));
}

const isFolder = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;

const exists = (path: string): boolean => statSync(path, { throwIfNoEntry: false }) !== undefined;

const isBelow = (folder: string, path: string): boolean => path.startsWith(`${folder}/`);
