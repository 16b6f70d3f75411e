/** A small session for machines without psql. */
import { createInterface, type Interface } from 'node:readline/promises';
import type { Cli } from '../context.ts';
import { say } from '../output.ts';
import { runScript } from './script.ts';
import { openSession } from './session.ts';
import { showResults } from './show.ts';
import { source } from './source.ts';

/** Statements end with `;`, `\\q` or Ctrl-D leaves. */
export async function interactiveSql(cli: Cli, url: string): Promise<void> {
  const session = await openSession(url, cli.signal, sentence => say(cli, sentence));
  say(cli, 'statements end with ";", \\q leaves (install psql for a richer session)');
  const lines = createInterface({ input: cli.stdin, output: cli.stderr });
  cli.signal.addEventListener('abort', () => lines.close(), { once: true });
  try {
    await runScript(source('<stdin>', bytesOf(lines)), {
      ...{ cli, session, show: showResults(cli, 'text') },
      onLine(idle) {
        lines.setPrompt(idle ? 'sql> ' : 'sql-> ');
        lines.prompt();
      },
    });
  } finally {
    lines.close();
    await session.close();
  }
}

// --- internal -----------------------------------------------------------------------------------

async function* bytesOf(lines: Interface): AsyncGenerator<Buffer> {
  for await (const line of lines) yield Buffer.from(`${line}\n`);
}
