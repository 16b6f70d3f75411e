/** Names of what we start, as people see them: two variables in the environment of all of it. Nothing is decided by them. */
import { createHash } from 'node:crypto';

/** `part` is `workload/ID/POD/CONTAINER`, `step/ID` or `postgres/ID`, with ids and names as `pathName` writes them. */
export const labels = (instance: string, part: string): Readonly<Record<string, string>> => ({
  OFFSHOOT_INSTANCE: instance,
  OFFSHOOT_PART: part,
});

/** An id as one path segment, so that no id can be a way to another folder. `pathId` is the way back. */
export const pathName = (id: string): string => encodeURIComponent(id).replace(/^\./, '%2E');

/** The id that `pathName` has made a name of; undefined for a name that it never makes. */
export function pathId(name: string): string | undefined {
  try {
    const id = decodeURIComponent(name);
    return pathName(id) === name ? id : undefined;
  } catch {
    return undefined;
  }
}

/** A file name that is like the part and different for different parts, whatever letters it has and however long it is. */
export function partKey(part: string): string {
  const readable = part.replace(/[^A-Za-z0-9.-]+/g, '_').slice(0, 60);
  return `${readable}.${createHash('sha256').update(part).digest('hex').slice(0, 12)}`;
}
