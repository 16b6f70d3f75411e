/**
 * Starts programs without a copy of this process. Node starts them by fork(2), which copies the tables of all our memory
 * first and makes us copy what we write to afterwards: 5 ms of the event loop at 100 MB, 15 at 200. posix_spawn(3) takes
 * what an exec takes, whatever our size is. It keeps the thread that calls it waiting until the exec, for which the new process needs a
 * processor: on a busy machine 10 to 30 ms. So another thread than the event loop's calls it, wherever any will do.
 */
import type { ChildProcess } from 'node:child_process';
import { EventEmitter } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { Socket } from 'node:net';
import { constants } from 'node:os';
import type { Readable, Writable } from 'node:stream';
import { libc, systemError } from './libc.ts';

/** What is used of a `ChildProcess` of Node; it emits `exit`, `close` and `error` as that does. */
export type Child = EventEmitter &
  Pick<ChildProcess, 'kill' | 'unref'> & {
    /** Absent: it could not be started, and `error` says why. */
    readonly pid?: number | undefined;
    readonly stdin: Writable | null;
    readonly stdout: Readable | null;
    readonly stderr: Readable | null;
  };

/** As `spawn` of node:child_process, of those options alone; `file` is an absolute path, and input, output and errors are given. */
export type Start = [
  file: string,
  args: readonly string[],
  options: { readonly cwd: string; readonly env: Readonly<Record<string, string>> } & {
    /** Its descriptors; a session of its own it has in any case. Those of ours stay open until it has started. */
    readonly stdio: readonly (number | 'pipe' | 'ignore')[];
  },
];

export type Starter = {
  /** By this thread, whose namespaces it is born in. */
  here(...start: Start): Child;
  /** By another thread. Whoever wants to hear of its end listens as soon as the promise is fulfilled. */
  aside(...start: Start): Promise<Child>;
};

let found: Promise<Starter | undefined> | undefined;

/** @returns undefined where it cannot be had: on other systems than Linux, and with a C library of before 2019 */
export function posixSpawn(): Promise<Starter | undefined> {
  found ??= load().catch(() => undefined);
  return found;
}

// --- internal ------------------------------------------------------------------------------------

/** spawn.h, as in glibc and musl. */
const SETSIGDEF = 0x04;
const SETSIGMASK = 0x08;
const SETSID = 0x80;
/** More than the structures of any C library take. */
const STRUCT_BYTES = 1024;
/** sigset_t */
const SIGNALS_BYTES = 128;
/** wait.h */
const P_ALL = 0;
const WNOHANG = 1;
const WEXITED = 4;
const WNOWAIT = 0x01000000;
/** Of `si_pid` in siginfo_t. */
const PID_AT = 16;
const O_CLOEXEC = 0o2000000;

/** What runs, and what is to be done with its status (wait(2)) when it has ended. */
const running = new Map<number, (status: number) => void>();

async function load(): Promise<Starter | undefined> {
  await libc(); // which says where there is none, and sets its loader up
  const { default: koffi } = await import('koffi');
  const library = koffi.load(null);
  const spawn = library.func(
    'int posix_spawn(void *pid, const char *file, void *actions, void *attributes, void *argv, void *env)',
  );
  const initActions = library.func('int posix_spawn_file_actions_init(void *actions)');
  const destroyActions = library.func('int posix_spawn_file_actions_destroy(void *actions)');
  const addDup = library.func('int posix_spawn_file_actions_adddup2(void *actions, int fd, int as)');
  const addClose = library.func('int posix_spawn_file_actions_addclose(void *actions, int fd)');
  const addChdir = library.func('int posix_spawn_file_actions_addchdir_np(void *actions, const char *to)');
  const initAttributes = library.func('int posix_spawnattr_init(void *attributes)');
  const setFlags = library.func('int posix_spawnattr_setflags(void *attributes, short flags)');
  const setDefault = library.func('int posix_spawnattr_setsigdefault(void *attributes, void *signals)');
  const setMask = library.func('int posix_spawnattr_setsigmask(void *attributes, void *signals)');
  const waitpid = library.func('int waitpid(int pid, void *status, int options)');
  const waitid = library.func('int waitid(int kind, int id, void *info, int options)');
  const pipe2 = library.func('int pipe2(void *fds, int flags)');

  // The same for all: no signal is blocked or ignored, and it leads a session.
  const attributes = Buffer.alloc(STRUCT_BYTES);
  initAttributes(attributes);
  setDefault(attributes, Buffer.alloc(SIGNALS_BYTES, 0xff));
  setMask(attributes, Buffer.alloc(SIGNALS_BYTES));
  setFlags(attributes, SETSIGDEF | SETSIGMASK | SETSID);

  const status = Buffer.alloc(4);
  const take = (pid: number): void => {
    if (waitpid(pid, status, WNOHANG) !== pid) return;
    const ended = running.get(pid)!;
    running.delete(pid);
    ended(status.readInt32LE());
  };
  const info = Buffer.alloc(SIGNALS_BYTES);
  // Who has ended is asked first, because there may be hundreds who have not.
  process.on('SIGCHLD', () => {
    while (running.size > 0) {
      info.fill(0);
      waitid(P_ALL, 0, info, WEXITED | WNOHANG | WNOWAIT);
      const pid = info.readInt32LE(PID_AT);
      if (pid === 0) return;
      if (running.has(pid)) take(pid);
      else {
        // One of Node's, which Node waits for by its pid; until then it hides ours.
        for (const one of [...running.keys()]) take(one);
        return;
      }
    }
  });

  /** What a start is told, and what is to be closed after it. */
  const prepare = (...[file, args, { cwd, env, stdio }]: Start) => {
    const ours: number[] = [];
    const theirs: number[] = [];
    const actions = Buffer.alloc(STRUCT_BYTES);
    initActions(actions);
    const done = () => {
      destroyActions(actions);
      for (const fd of theirs) closeSync(fd);
    };
    const failed = () => {
      for (const fd of ours) if (fd !== undefined) closeSync(fd);
      done();
    };
    try {
      const [argv, variables] = [
        vector(koffi, [file, ...args]),
        vector(
          koffi,
          Object.entries(env).map(([key, value]) => `${key}=${value}`),
        ),
      ];
      const sources = stdio.map((what, at) => {
        if (typeof what === 'number') return what;
        if (what === 'ignore') theirs.push(openSync('/dev/null', 'r+'));
        else {
          const fds = Buffer.alloc(8);
          if (pipe2(fds, O_CLOEXEC) !== 0) throw systemError('pipe2', koffi.errno());
          const [readable, writable] = [fds.readInt32LE(0), fds.readInt32LE(4)];
          ours[at] = at === 0 ? writable : readable;
          theirs.push(at === 0 ? readable : writable);
        }
        return theirs.at(-1)!;
      });
      // In two steps, because one's place may be where another still is.
      const above = Math.max(...sources, sources.length) + 1;
      for (const [at, fd] of sources.entries()) addDup(actions, fd, above + at);
      for (const at of sources.keys()) {
        addDup(actions, above + at, at);
        addClose(actions, above + at);
      }
      addChdir(actions, cwd);

      const pid = Buffer.alloc(4);
      return {
        given: [pid, file, actions, attributes, argv, variables] as const,
        /** @param errno what posix_spawn has returned */
        started(errno: number): Started {
          if (errno !== 0) {
            failed();
            throw systemError(`spawn ${file}`, errno);
          }
          done();
          return new Started(pid.readInt32LE(), ours);
        },
      };
    } catch (error) {
      failed();
      throw error;
    }
  };

  return {
    here(...start) {
      const { given, started } = prepare(...start);
      return started(spawn(...given));
    },
    async aside(...start) {
      const { given, started } = prepare(...start);
      const errno = await new Promise<number>((resolve, reject) => {
        // The memory is C's until then, which is why `given` is held by this function.
        spawn.async(
          ...given,
          (error: Error | null, result: number) => void (error ? reject(error) : resolve(result)),
        );
      });
      const child = started(errno);
      // It may have ended before it was known; who has started it listens by then.
      setImmediate(() => void (running.has(child.pid) && take(child.pid)));
      return child;
    },
  };
}

/** Strings of C, and before them their addresses, as execve(2) wants them. */
function vector({ address }: Pick<Koffi, 'address'>, strings: readonly string[]): Buffer {
  const wrong = strings.find(text => text.includes('\0'));
  if (wrong !== undefined)
    throw Object.assign(new TypeError('an argument or a variable has a zero byte'), {
      code: 'ERR_INVALID_ARG_VALUE',
    });
  const texts = strings.map(text => Buffer.from(`${text}\0`));
  const table = Buffer.alloc((texts.length + 1) * 8);
  const all = Buffer.concat([table, ...texts]);
  const start = address(all);
  let at = table.length;
  for (const [i, text] of texts.entries()) {
    all.writeBigUInt64LE(start + BigInt(at), i * 8);
    at += text.length;
  }
  return all;
}

type Koffi = typeof import('koffi');

class Started extends EventEmitter implements Child {
  readonly pid: number;
  readonly stdin: Socket | null;
  readonly stdout: Socket | null;
  readonly stderr: Socket | null;
  #alive = true;

  /** @param pipes by place: our ends */
  constructor(pid: number, pipes: readonly (number | undefined)[]) {
    super();
    this.pid = pid;
    const [stdin, stdout, stderr] = [0, 1, 2].map(at => {
      const fd = pipes[at];
      if (fd === undefined) return null;
      const socket = new Socket({ fd, readable: at > 0, writable: at === 0 });
      socket.on('error', () => {}); // it has ended, and says how otherwise
      return socket;
    });
    this.stdin = stdin!;
    this.stdout = stdout!;
    this.stderr = stderr!;
    const closed = [stdout, stderr].map(
      stream => new Promise<void>(resolve => (stream ? stream.once('close', () => resolve()) : resolve())),
    );
    running.set(pid, status => {
      this.#alive = false;
      this.stdin?.destroy(); // nobody reads it any more
      // wait(2): the signal that has killed it, or else its exit code.
      const number = status & 0x7f;
      const [code, signal] = number === 0 ? [(status >> 8) & 0xff, null] : [null, nameOf(number)];
      this.emit('exit', code, signal);
      void Promise.all(closed).then(() => this.emit('close', code, signal));
    });
  }

  kill(signal: NodeJS.Signals | number = 'SIGTERM'): boolean {
    try {
      return this.#alive && process.kill(this.pid, signal);
    } catch {
      return false;
    }
  }

  /** It keeps nobody from ending as it is. */
  unref(): void {}
}

const names = new Map(Object.entries(constants.signals).map(([name, number]) => [number, name]));

const nameOf = (number: number) => (names.get(number) ?? `SIG${number}`) as NodeJS.Signals;
