/** The documents in examples/valid are accepted; those in examples/invalid are refused with the problems they name. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { readManifests } from '../../../src/model/document/manifest.ts';
import { readResourcePlugin } from '../../../src/model/document/plugin.ts';
import { readSandbox } from '../../../src/model/document/sandbox.ts';
import { refusalOf } from './problems-of.ts';

const root = join(import.meta.dirname, '../../../examples');

/** By the first word of the file's name. `# set:` lines are what would be given with `--set`. */
const readers: Readonly<Record<string, (source: { file: string; text: string }, set: string[]) => unknown>> =
  {
    manifest: source => readManifests(source),
    plugin: (source, set) => readResourcePlugin(source, { set }),
    sandbox: (source, set) => readSandbox(source, { set }),
  };

for (const folder of ['valid', 'invalid'] as const) {
  describe(`examples/${folder}`, () => {
    const files = readdirSync(join(root, folder));
    test('there are some', () => assert.ok(files.length > 0));
    for (const file of files) {
      test(file, () => {
        const text = readFileSync(join(root, folder, file), 'utf8');
        const comments = (word: string) =>
          [...text.matchAll(new RegExp(`^# ${word}: (.*)$`, 'gm'))].map(match => match[1]!);
        const read = () => readers[file.split('-')[0]!]!({ file, text }, comments('set'));
        if (folder === 'valid') read();
        else assert.deepEqual(refusalOf(read).problems, comments('expect'));
      });
    }
  });
}
