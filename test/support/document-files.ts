/** All sandbox and plugin documents that the project shows somebody: in examples/ and as snippets of the pages. */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { readResourcePlugin } from '../../src/model/document/plugin.ts';
import { readSandbox } from '../../src/model/document/sandbox.ts';

const root = join(import.meta.dirname, '../..');

export type ShownDocument = {
  readonly kind: 'sandbox' | 'plugin';
  /** File, and line of a snippet. */
  readonly from: string;
  readonly name: string;
  readonly spec: object;
};

/** As they are after their templates were expanded. */
export function shownDocuments(): readonly ShownDocument[] {
  const files = globSync(['examples/valid/{sandbox,plugin}-*.yaml', 'examples/*/signadot/*.yaml'], {
    cwd: root,
  });
  const texts = files.map(file => ({ from: file, text: readFileSync(join(root, file), 'utf8') }));
  const pages = globSync(['README.md', 'docs/*.md'], { cwd: root });
  return [...texts, ...pages.flatMap(snippets)].flatMap(documentOf);
}

// --- internal ------------------------------------------------------------------------------------

type Text = { readonly from: string; readonly text: string };

const snippets = (page: string): readonly Text[] => {
  const text = readFileSync(join(root, page), 'utf8');
  return [...text.matchAll(/^```yaml\n([\s\S]*?)^```$/gm)].map(({ index, 1: snippet = '' }) => ({
    from: `${page}:${text.slice(0, index).split('\n').length}`,
    text: snippet,
  }));
};

function documentOf({ from, text }: Text): readonly ShownDocument[] {
  const { spec, apiVersion } = parse(text) as { spec?: object; apiVersion?: string };
  if (spec === undefined || apiVersion !== undefined) return [];
  const source = { file: join(root, from), text };
  // `# set:` lines are what would be given with `--set`; the tutorial's Makefile gives the cluster.
  const set = [...text.matchAll(/^# set: (.*)$/gm)].map(([, value = '']) => value);
  const options = { set: text.includes('@{cluster}') ? [...set, 'cluster=local'] : set };
  if ('cluster' in spec) return [{ kind: 'sandbox', from, ...readSandbox(source, options).sandbox }];
  return [{ kind: 'plugin', from, ...readResourcePlugin(source, options) }];
}
