/** What the pages point to is there. */
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';

const root = join(import.meta.dirname, '../..');

test('relative links in Markdown files lead to files', () => {
  const pages = globSync('**/*.md', { cwd: root, exclude: ['**/node_modules', '.toolchain', '.cache'] });
  assert.ok(pages.includes('CONTRIBUTING.md'), 'no pages were found');
  const broken = pages.flatMap(page =>
    linksIn(readFileSync(join(root, page), 'utf8'))
      .filter(link => !existsSync(join(root, dirname(page), link)))
      .map(link => `${page} → ${link}`),
  );
  assert.deepEqual(broken, []);
});

test('links are found as they are written', () => {
  const page =
    '[a](b.md#c) ![d](e/f.png "title") [g](https://example.com/h) [i](#j) [k](mailto:l@m)\n[n]: o.md\n';
  assert.deepEqual(linksIn(page), ['b.md', 'e/f.png', 'o.md']);
});

/** Targets of links within the repository, without their fragments. */
function linksIn(markdown: string): string[] {
  const targets = [...markdown.matchAll(/\]\(([^)\s]+)[^)]*\)|^\[[^\]]+\]:\s*(\S+)/gm)];
  return targets
    .map(([, inline, reference]) => (inline ?? reference ?? '').replace(/#.*$/, ''))
    .filter(target => target !== '' && !/^[a-z]+:/i.test(target));
}
