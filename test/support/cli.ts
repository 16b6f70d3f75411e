/** The command line in this process: faster than a process for each command, and its streams may be terminals. */
import { Readable, Writable } from 'node:stream';
import { type Cli, createCli } from '../../src/cli/context.ts';
import { main } from '../../src/cli/main.ts';

export type FakeCliOptions = {
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  readonly input?: string;
  /** Standard input is a terminal, at which `input` is typed. */
  readonly terminal?: boolean;
  /** Standard output is a terminal. */
  readonly shown?: boolean;
  /** Standard error is a terminal of this width. */
  readonly columns?: number;
  readonly rows?: number;
  readonly signal?: AbortSignal;
  /** Hears of all that was written so far, to standard output or to standard error. */
  readonly onOutput?: (text: string) => void;
};

export type FakeCli = {
  readonly cli: Cli;
  readonly stdout: () => string;
  readonly stderr: () => string;
};

export function fakeCli(options: FakeCliOptions = {}): FakeCli {
  const { env = {}, cwd = '/', input = '', columns, rows, signal = new AbortController().signal } = options;
  const [stdout, out] = collector(options.onOutput);
  const [stderr, err] = collector(options.onOutput);
  const cli = createCli({
    env: { OFFSHOOT_HOME: '/nonexistent/offshoot', ...env },
    cwd,
    uid: 1,
    stdout: options.shown ? Object.assign(stdout, { isTTY: true }) : stdout,
    stderr: columns === undefined ? stderr : Object.assign(stderr, { isTTY: true, columns, rows }),
    stdin: Object.assign(Readable.from([Buffer.from(input)]), { isTTY: options.terminal === true }),
    signal,
  });
  return { cli, stdout: out, stderr: err };
}

export type Ran = { readonly code: number; readonly stdout: string; readonly stderr: string };

export async function runCli(args: readonly string[], options: FakeCliOptions = {}): Promise<Ran> {
  const { cli, stdout, stderr } = fakeCli(options);
  const code = await main(args, cli);
  return { code, stdout: stdout(), stderr: stderr() };
}

// --- internal -----------------------------------------------------------------------------------

function collector(onWrite: (text: string) => void = () => {}): [Writable, () => string] {
  const chunks: Buffer[] = [];
  const text = () => Buffer.concat(chunks).toString('utf8');
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      chunks.push(chunk);
      done();
      onWrite(text());
    },
  });
  return [stream, text];
}
