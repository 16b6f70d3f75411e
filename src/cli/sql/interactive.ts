/** A session for somebody at a terminal where no psql is that knows the server. */
import { createInterface, type Interface } from 'node:readline';
import type { SqlSession } from '../../sql/session.ts';
import { source } from '../../sql/source.ts';
import type { Cli } from '../context.ts';
import { say } from '../output.ts';
import { completer } from './complete.ts';
import { openHistory } from './history.ts';
import { openScript, type Running } from './script.ts';
import type { SqlFormat } from './show.ts';

/** Statements end with `;`. Ctrl-C ends the one that runs, Ctrl-D or `\q` leaves. Closes the session. */
export async function interactiveSql(cli: Cli, session: SqlSession, format: SqlFormat): Promise<void> {
  const history = await openHistory(cli.env);
  const terminal = cli.stdin.isTTY === true;
  const lines = createInterface({
    ...{ input: cli.stdin, output: cli.stderr, terminal, historySize: 0 },
    ...(terminal && { historySize: 1_000, history: [...history.lines], removeHistoryDuplicates: true }),
    completer: (line: string, done: (error: null, found: [string[], string]) => void) =>
      void complete(line).then(found => done(null, found)),
  });
  let running: Running | undefined;
  const complete = completer(session, () => running?.script.peek() ?? '');
  const version = session.parameter('server_version');
  say(
    cli,
    `PostgreSQL ${version}, database ${session.database}; statements end with ";", \\? helps, \\q leaves`,
  );
  lines.on('SIGINT', () => {
    session.cancel();
    running?.reset();
    lines.write(null, { ctrl: true, name: 'u' });
    cli.stderr.write('\n');
    prompt(lines, session, true);
  });
  const stop = () => lines.close();
  cli.signal.addEventListener('abort', stop, { once: true });
  try {
    running = openScript(source('<stdin>', bytesOf(lines, history.add)), {
      ...{ cli, session, format },
      onLine: idle => prompt(lines, session, idle),
    });
    await running.run();
  } finally {
    cli.signal.removeEventListener('abort', stop);
    lines.close();
    await history.save();
    await session.close();
  }
}

// --- internal -----------------------------------------------------------------------------------

/** `app=> `; `->` when a statement has begun, `*` in a transaction, `!` in one that has failed. */
function prompt(lines: Interface, session: SqlSession, idle: boolean): void {
  const mark = { I: '', T: '*', E: '!' }[session.transaction()];
  lines.setPrompt(`${session.database}${idle ? '=' : '-'}${mark}> `);
  lines.prompt();
}

async function* bytesOf(lines: Interface, each: (line: string) => void): AsyncGenerator<Buffer> {
  for await (const line of lines) {
    each(line);
    yield Buffer.from(`${line}\n`);
  }
}
