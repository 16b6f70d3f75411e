import { identify } from '../lib/process.ts';
import { DeadlineError, until } from '../lib/wait.ts';
import { OffshootError } from '../model/errors.ts';
import type { Cli } from './context.ts';
import { took } from './output.ts';

/** Waits for the end of a daemon that was told to. @param log its file @throws OffshootError api/timeout */
export async function untilGone(cli: Cli, pid: number, log: string): Promise<void> {
  const what = `daemon ${pid} to end`;
  try {
    await until(() => (identify(pid) === undefined ? true : undefined), {
      what,
      deadlineMs: stopDeadlineMs,
      intervalMs: 10,
      signal: cli.signal,
    });
  } catch (error) {
    if (!(error instanceof DeadlineError)) throw error;
    throw new OffshootError('api/timeout', { after: took(stopDeadlineMs), what, hint: `see ${log}` });
  }
}

// --- internal -----------------------------------------------------------------------------------

const stopDeadlineMs = 60_000;
