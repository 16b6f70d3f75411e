/** The checks that are not tests: format and lint, types, and generated files. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { crdFiles } from '../src/kubernetes/crd.ts';
import { ExecError, exec } from '../src/lib/exec.ts';
import { jsonSchemaFiles } from '../src/model/document/json-schema.ts';
import { errorsPage } from './gen-errors.ts';
import { kindsPage } from './gen-kinds.ts';

export const root = join(import.meta.dirname, '..');

export type Check = {
  readonly name: string;
  /** @param write mend what can be mended. @returns what is wrong, ready to be printed; undefined when all is well. */
  run(write: boolean): Promise<string | undefined>;
};

export const checks: readonly Check[] = [
  {
    name: 'format and lint',
    run: write =>
      tool('@biomejs/biome/bin/biome', 'check', '--error-on-warnings', ...(write ? ['--write'] : [])),
  },
  { name: 'types', run: () => tool('typescript/bin/tsc', '-p', '.') },
  { name: 'generated files', run: write => generatedFiles(write) },
];

// --- internal ------------------------------------------------------------------------------------

/** Path → what it should hold. */
const generated = (): Readonly<Record<string, string>> => ({
  'docs/errors.md': errorsPage(),
  'docs/kinds.md': kindsPage(),
  ...jsonSchemaFiles(),
  ...crdFiles(),
});

async function generatedFiles(write: boolean): Promise<string | undefined> {
  const stale: string[] = [];
  for (const [path, wanted] of Object.entries(generated())) {
    const file = join(root, path);
    if ((await readFile(file, 'utf8').catch(() => undefined)) === wanted) continue;
    if (write) await writeFile(file, wanted);
    else stale.push(`${path} is out of date: renew it with "npm run check -- --write"`);
  }
  return stale.length === 0 ? undefined : stale.join('\n');
}

/** Runs a tool of node_modules with the Node that runs us. */
async function tool(script: string, ...args: readonly string[]): Promise<string | undefined> {
  try {
    await exec(process.execPath, [join(root, 'node_modules', script), ...args], {
      cwd: root,
      deadlineMs: 300_000,
    });
    return undefined;
  } catch (error) {
    if (!(error instanceof ExecError)) throw error;
    return `${error.stdout}${error.stderr}`.trim() || error.message;
  }
}
