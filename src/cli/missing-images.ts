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

/** The entries to begin with, as they would stand in offshoot.yaml; each with those who wait for it. */
export function entriesFor(missing: readonly MissingImageView[]): string {
  const byKey = new Map<string, string[]>();
  for (const { key, users } of missing)
    byKey.set(key, [...new Set([...(byKey.get(key) ?? []), ...users.map(short)])]);
  const entries = [...byKey].flatMap(([key, users]) => [
    `  ${key}: # ${listed(users)}`,
    '    dir: .',
    '    command: [PROGRAM, ARGUMENT]',
  ]);
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

const listed = (users: readonly string[]): string =>
  users.length <= named
    ? users.join(', ')
    : `${users.slice(0, named).join(', ')} and ${users.length - named} more`;
