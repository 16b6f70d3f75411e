/** A repository with a service that says which code runs and which database it has; and git commands in it. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { exec } from '../../src/lib/exec.ts';

export type GitProject = {
  /** The first worktree. */
  readonly folder: string;
  /** Runs git, there or in another worktree. @returns what it printed */
  git(args: readonly string[], cwd?: string): Promise<string>;
};

export type GitProjectOptions = {
  /** Of the workload, which is called `web`. */
  readonly namespace: string;
  /** That is mapped to the folder; default: that of its own manifests. */
  readonly image?: string;
  /** More than `database: DATABASE_URL`. */
  readonly environment?: object;
  /** Whether an edit starts the service anew. */
  readonly watch?: boolean;
  /** For git, and for the hooks that it runs. */
  readonly env?: NodeJS.ProcessEnv;
};

/** What the service answers: `SAYS DATABASE`, where the database is the user of its DATABASE_URL. */
export const serviceCode = (says: string): string => `
  const { DATABASE_URL, PORT } = process.env;
  require('node:http').createServer((_, answer) => answer.end('${says} ' + new URL(DATABASE_URL).username))
    .listen(PORT, '127.0.0.1');`;

/** Writes another version of the service. */
export const edit = (worktree: string, says: string): void =>
  writeFileSync(join(worktree, 'server.cjs'), serviceCode(says));

/** One commit on `main`; the service is deployed by `deploy -f k8s`. */
export async function gitProject(
  folder: string,
  { namespace, image = 'acme/web', environment = {}, watch = true, env = process.env }: GitProjectOptions,
): Promise<GitProject> {
  mkdirSync(join(folder, 'k8s'), { recursive: true });
  edit(folder, 'first');
  writeFileSync(join(folder, 'k8s', 'all.yaml'), manifests(namespace));
  const images = {
    [image]: { dir: '.', command: ['node', 'server.cjs'], ...(watch && { watch: ['*.cjs'] }) },
  };
  writeFileSync(
    join(folder, 'offshoot.yaml'),
    stringify({ images, environment: { database: 'DATABASE_URL', ...environment } }),
  );
  writeFileSync(join(folder, '.gitignore'), 'node_modules\n.env\n');
  const who = { GIT_AUTHOR_NAME: 't', GIT_AUTHOR_EMAIL: 't@example.com' };
  const gitEnv = {
    ...env,
    ...who,
    GIT_COMMITTER_NAME: 't',
    GIT_COMMITTER_EMAIL: 't@example.com',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: env.GIT_CONFIG_GLOBAL ?? '/dev/null',
  };
  const git = async (args: readonly string[], cwd = folder) =>
    (await exec('git', args, { cwd, env: gitEnv, deadlineMs: 120_000 })).stdout;
  await git(['init', '--quiet', '--initial-branch=main']);
  await git(['add', '--all']);
  await git(['commit', '--quiet', '--message=first']);
  return { folder, git };
}

// --- internal -----------------------------------------------------------------------------------

const manifests = (namespace: string) =>
  [
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'web', namespace },
      spec: {
        selector: { matchLabels: { app: 'web' } },
        template: {
          metadata: { labels: { app: 'web' } },
          spec: {
            containers: [
              {
                name: 'main',
                image: 'acme/web:1',
                ports: [{ containerPort: 3000 }],
                env: [{ name: 'DATABASE_URL', value: 'postgresql://baseline@127.0.0.1/app' }],
              },
            ],
          },
        },
      },
    },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'web', namespace },
      spec: { selector: { app: 'web' }, ports: [{ port: 3000 }] },
    },
  ]
    .map(object => stringify(object))
    .join('---\n');
