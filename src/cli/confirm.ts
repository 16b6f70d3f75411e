/** Asking before something is destroyed. */
import { createInterface } from 'node:readline/promises';
import { OffshootError } from '../model/errors.ts';
import type { Cli } from './context.ts';

/**
 * Returns when whoever sits at the terminal says yes, or has said so by `--yes`.
 * @param what is destroyed, for the question and for the errors
 * @param consequence a sentence about it
 * @throws OffshootError delete/unconfirmed where there is no terminal, delete/declined; the signal's reason
 */
export async function confirm(
  cli: Pick<Cli, 'stdin' | 'stderr' | 'signal'>,
  what: string,
  consequence: string,
  yes: boolean | undefined,
): Promise<void> {
  if (yes) return;
  if (!cli.stdin.isTTY || !cli.stderr.isTTY) throw new OffshootError('delete/unconfirmed', { what });
  const terminal = createInterface({ input: cli.stdin, output: cli.stderr });
  // The end of the input (Ctrl-D) is no answer, and would be waited for without end.
  const ended = new Promise<string>(resolve => terminal.once('close', () => resolve('')));
  try {
    const asked = terminal.question(`${consequence}\nDelete ${what}? [y/N] `, { signal: cli.signal });
    const answer = await Promise.race([asked, ended]).catch(error => {
      cli.signal.throwIfAborted();
      throw error;
    });
    if (!/^y(es)?$/i.test(answer.trim())) throw new OffshootError('delete/declined', { what });
  } finally {
    terminal.close();
  }
}
