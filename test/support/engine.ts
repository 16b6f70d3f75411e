/**
 * A container engine of a test's own: Podman or Docker with a store of its own, which serves on a socket of its own. No registry is
 * asked for anything: the one image is made of programs of this machine.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, readdir, readFile, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { engineApi } from '../../src/drivers/engine/api.ts';
import { exec } from '../../src/lib/exec.ts';
import { findProgram } from '../../src/lib/find-program.ts';
import { mounts } from '../../src/lib/mounts.ts';
import { until } from '../../src/lib/wait.ts';
import { tempDir } from './temp.ts';

export type TestEngine = AsyncDisposable & {
  readonly socket: string;
  /** What it calls itself. */
  readonly title: 'Podman' | 'Docker';
  /** Its command line. @returns what it prints */
  cli(...args: readonly string[]): Promise<string>;
  /** The engine stops; its containers go on. */
  stop(): Promise<void>;
  start(): Promise<void>;
};

/**
 * `localhost/tool:1`: a shell, Perl and little else, that serves HTTP at port 3000 with `SAYS` as its first line and its
 * answer. It works in /srv, and runs `perl server.pl`.
 */
export const testImage = 'localhost/tool:1';

/**
 * Podman, else Docker; `OFFSHOOT_TEST_ENGINE` says which of them.
 * @returns why this machine has no container engine for tests
 */
export async function tryTestEngine(): Promise<TestEngine | { readonly why: string }> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return { why: 'only as root on Linux' };
  if ((await findProgram('perl', PATH, '/')) === undefined)
    return { why: 'Perl, of which an image is made, is not installed' };
  const wanted = process.env.OFFSHOOT_TEST_ENGINE;
  const [podman, docker] = await Promise.all(
    ['podman', 'dockerd'].map(name => findProgram(name, `${PATH}:/usr/sbin`, '/')),
  );
  try {
    if (podman !== undefined && wanted !== 'docker') return await testEngine(dir => podmanOf(dir, podman));
    if (docker !== undefined && wanted !== 'podman') return await testEngine(dir => dockerOf(dir, docker));
  } catch (error) {
    return { why: `the container engine does not work here: ${(error as Error).message}` };
  }
  return { why: 'neither Podman nor Docker is installed' };
}

// --- internal -----------------------------------------------------------------------------------

/** How an engine is run, with all that it keeps in a folder of the test's. */
type Kind = Pick<TestEngine, 'title' | 'cli'> & {
  readonly service: readonly [program: string, ...args: readonly string[]];
  readonly env: NodeJS.ProcessEnv;
  /** Its programs that outlive it, and what it leaves mounted. */
  clear(): Promise<void>;
};

async function testEngine(kindOf: (dir: string) => Promise<Kind>): Promise<TestEngine> {
  await using stack = new AsyncDisposableStack();
  const { path: dir } = stack.use(await tempDir('offshoot-engine-'));
  const { title, cli, env, service: command, clear } = await kindOf(dir);
  const socket = join(dir, 'engine.sock');
  let service: ChildProcess | undefined;

  stack.defer(clear);
  stack.defer(stop);
  const folder = join(dir, 'image');
  await makeImageFolder(folder);
  await exec('tar', ['-C', folder, '-cf', `${folder}.tar`, '.']);
  const changes = ['ENTRYPOINT ["perl","server.pl"]', 'WORKDIR /srv', 'ENV SAYS=image', 'EXPOSE 3000'];
  await start();
  await cli('import', ...changes.flatMap(change => ['--change', change]), `${folder}.tar`, testImage);
  await rm(folder, { recursive: true, force: true });
  const owned = stack.move();
  return { socket, title, cli, start, stop, [Symbol.asyncDispose]: () => owned.disposeAsync() };

  async function start(): Promise<void> {
    await rm(socket, { force: true });
    const [program, ...args] = command;
    // Where it stands a container that is out of memory leaves a file `oom`.
    const child = spawn(program, args, { cwd: dir, env, stdio: ['ignore', 'ignore', 'pipe'] });
    service = child;
    let said = '';
    child.on('error', error => {
      said += String(error);
    });
    child.stderr.on('data', chunk => {
      said = `${said}${chunk}`.slice(-4_096);
    });
    child.stderr.on('error', () => {});
    const answers = () =>
      engineApi(socket)
        .ping()
        .then(
          () => true as const,
          () => undefined,
        );
    const look = async () => {
      if (child.exitCode !== null) throw new Error(`${title} has ended: ${said}`);
      return await answers();
    };
    await until(look, { what: `${title} answers`, deadlineMs: 60_000, intervalMs: 20 });
  }

  async function stop(): Promise<void> {
    const child = service;
    service = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }
}

async function podmanOf(dir: string, path: string): Promise<Kind> {
  const conf = join(dir, 'containers.conf');
  await writeFile(conf, await configuration());
  const store = ['root', 'runroot', 'tmpdir'].flatMap(what => [`--${what}`, join(dir, what)]);
  const env = { ...process.env, CONTAINERS_CONF: conf };
  const cli = async (...args: readonly string[]) =>
    (await exec(path, [...store, ...args], { env, deadlineMs: 120_000 })).stdout;
  return {
    ...{ title: 'Podman', cli, env },
    service: [path, ...store, 'system', 'service', '--time=0', `unix://${join(dir, 'engine.sock')}`],
    async clear() {
      await cli('rm', '--all', '--force', '--time=0');
      // Its store is mounted on itself.
      const overlay = join(dir, 'root/overlay');
      if ((await mounts()).some(({ target }) => target === overlay)) await exec('umount', ['--', overlay]);
    },
  };
}

/** Without a bridge, rules or a network of its own; its containers go on when it ends. */
async function dockerOf(dir: string, path: string): Promise<Kind> {
  const client = await findProgram('docker', PATH, '/');
  if (client === undefined) throw new Error('there is a dockerd, but no docker');
  const host = `unix://${join(dir, 'engine.sock')}`;
  const [run, pidFile] = [join(dir, 'run'), join(dir, 'run', 'containerd', 'containerd.pid')];
  const cli = async (...args: readonly string[]) =>
    (await exec(client, ['--host', host, ...args], { deadlineMs: 120_000 })).stdout;
  return {
    ...{ title: 'Docker', cli, env: process.env },
    service: [
      path,
      ...['--host', host, '--data-root', join(dir, 'data'), '--exec-root', run],
      ...['--pidfile', join(dir, 'dockerd.pid'), '--live-restore', '--oom-score-adjust=0'],
      ...['--bridge=none', '--iptables=false', '--ip6tables=false', '--storage-driver=vfs'],
    ],
    async clear() {
      const ours = await readFile(pidFile, 'utf8').catch(() => '');
      if (/^\d+$/.test(ours.trim())) {
        try {
          process.kill(Number(ours), 'SIGKILL');
        } catch {
          // It has ended with its engine.
        }
      }
      for (const { target } of (await mounts()).toReversed())
        if (target.startsWith(`${dir}/`)) await exec('umount', ['--lazy', '--', target]).catch(() => {});
    },
  };
}

const PATH = process.env.PATH ?? '';

/** What works also where root lacks capabilities, and on hybrid control groups. */
async function configuration(): Promise<string> {
  const runc = (await findProgram('runc', PATH, '/')) === undefined ? [] : ['runtime = "runc"'];
  return [
    ...['[containers]', 'default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]'],
    ...['[engine]', 'cgroup_manager = "cgroupfs"', 'events_logger = "file"', ...runc, ''],
  ].join('\n');
}

const SERVER = `use strict; use IO::Socket::INET; $| = 1;
print "$ENV{SAYS}\\n";
my $server = IO::Socket::INET->new(LocalPort => 3000, Listen => 50, ReuseAddr => 1) or die "listen: $!";
$SIG{TERM} = sub { exit 0 };
while (1) {
  my $client = $server->accept() or next;
  while (my $line = <$client>) { last if $line =~ /^\\r?\\n/ }
  my $text = $ENV{SAYS};
  print $client "HTTP/1.1 200 OK\\r\\nContent-Length: " . length($text) . "\\r\\nConnection: close\\r\\n\\r\\n$text";
  close $client;
}
`;

async function makeImageFolder(folder: string): Promise<void> {
  for (const name of ['bin', 'usr/bin', 'etc', 'tmp', 'srv', 'lib64'])
    await mkdir(join(folder, name), { recursive: true });
  const libraries = new Set<string>();
  for (const name of ['dash', 'perl', 'sleep', 'cat', 'env', 'id', 'hostname']) {
    const program = await findProgram(name, PATH, '/');
    if (program === undefined) continue;
    await cp(await realpath(program), join(folder, 'bin', name));
    const { stdout } = await exec('ldd', [program]);
    for (const [path] of stdout.matchAll(/\/\S+/g)) libraries.add(path);
  }
  for (const path of libraries) {
    await mkdir(join(folder, dirname(path)), { recursive: true });
    await cp(await realpath(path), join(folder, path));
  }
  await symlink('dash', join(folder, 'bin/sh'));
  for (const path of await perlBase())
    await cp(path, join(folder, path), { recursive: true, dereference: true });
  await writeFile(join(folder, 'srv/server.pl'), SERVER);
}

/** Where Debian has the modules that come with `perl-base`. */
async function perlBase(): Promise<readonly string[]> {
  const { stdout } = await exec('perl', ['-e', 'print join("\\n", @INC)']);
  const found: string[] = [];
  for (const path of stdout.split('\n'))
    if (basename(path) === 'perl-base' && (await readdir(path).catch(() => [])).length > 0) found.push(path);
  return found;
}
