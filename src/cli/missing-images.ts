/** What `deploy` says of images that nothing says of how they run here: all of them, and what to write. */
import { OffshootError } from '../model/errors.ts';
import type { MissingImageView } from '../model/view.ts';

export const missingImagesError = (missing: readonly MissingImageView[], file: string): OffshootError =>
  new OffshootError('image/missing', counts(missing, file), { output: entriesFor(missing) });

/** One line. */
export function missingImagesLine(missing: readonly MissingImageView[], file: string): string {
  const { message } = new OffshootError('image/missing', counts(missing, file));
  return `${message}: ${[...new Set(missing.map(({ image }) => image))].join(', ')}`;
}

/**
 * The entries to begin with, as they would stand in offshoot.yaml; each with those who wait for it. A repository with many
 * tags has a program in each.
 */
export function entriesFor(missing: readonly MissingImageView[]): string {
  const byKey = new Map<string, { users: readonly string[]; tags: ReadonlySet<string> }>();
  for (const { key, image, users } of missing) {
    const { users: before = [], tags = [] } = byKey.get(key) ?? {};
    byKey.set(key, {
      users: [...new Set([...before, ...users.map(short)])],
      tags: new Set([...tags, image.slice(image.lastIndexOf(key) + key.length + 1)]),
    });
  }
  const entries = [...byKey].flatMap(([key, { users, tags }]) =>
    tags.size <= manyTags
      ? [`  ${key}: # ${listed(users)}`, '    dir: .', '    command: [PROGRAM, ARGUMENT]']
      : [
          `  "${key}:{tag}": # ${listed(users)}; ${tags.size} tags: ${listed([...tags])}`,
          ...['    dir: .', '    command: [PROGRAM, "{tag}"]'],
        ],
  );
  return ['images:', ...entries].join('\n');
}

// --- internal -----------------------------------------------------------------------------------

const counts = (missing: readonly MissingImageView[], file: string) => ({
  file,
  images: new Set(missing.map(({ image }) => image)).size,
  workloads: new Set(missing.flatMap(({ users }) => users)).size,
});

/** `Deployment/demo/users` without its kind. */
const short = (name: string): string => name.split('/').slice(1).join('/');

const named = 3;
const manyTags = 3;

const listed = (users: readonly string[]): string =>
  users.length <= named
    ? users.join(', ')
    : `${users.slice(0, named).join(', ')} and ${users.length - named} more`;
