/** Which project and branch a folder works with: `.offshoot/link.json`, found upwards like `.git`. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { UsageError } from './output.ts';

export type Link = { readonly project: string; readonly branch: string };

export function findLink(cwd: string): (Link & { readonly file: string }) | undefined {
  for (let dir = cwd; ; dir = dirname(dir)) {
    const file = join(dir, '.offshoot', 'link.json');
    if (existsSync(file)) {
      try {
        const { project, branch } = JSON.parse(readFileSync(file, 'utf8')) as Link;
        if (typeof project === 'string' && typeof branch === 'string') return { project, branch, file };
      } catch {
        // falls through to the sentence below
      }
      throw new UsageError(
        `${file} is not a link that "offshoot init" wrote; remove it and run "offshoot init" again`,
      );
    }
    if (dirname(dir) === dir) return undefined;
  }
}

/** Writes the link of `dir`, or of the folder above that is linked already. @returns the file */
export function writeLink(dir: string, link: Link): string {
  const file = findLink(dir)?.file ?? join(dir, '.offshoot', 'link.json');
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify({ project: link.project, branch: link.branch }, null, 2)}\n`);
  return file;
}
