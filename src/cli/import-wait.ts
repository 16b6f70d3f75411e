/** Sees an import to its end: its progress, what came of it, and its end by Ctrl-C. */
import { createClient } from '../client/index.ts';
import { bytesText } from '../model/bytes.ts';
import { OffshootError } from '../model/errors.ts';
import type { ImportPhase, ImportReport, ImportStatus } from '../model/import.ts';
import { progressText } from '../model/import.ts';
import type { BranchView } from '../model/view.ts';
import type { Cli } from './context.ts';
import { isDump } from './dump-source.ts';
import { say, took } from './output.ts';
import { createProgress, type ProgressStep } from './progress.ts';
import { waitFor } from './wait.ts';

export type Seen = {
  readonly project: string;
  /** Which import of the project. */
  readonly count: number;
  /** As it was written; undefined: from where the last one came. */
  readonly from: string | undefined;
  /** Asked for when this is interrupted: nobody waits for it any more. */
  readonly giveUp: 'delete' | 'cancel';
};

/**
 * @throws OffshootError import/* with the reason why it failed; the reason of Ctrl-C
 */
export async function seeImport(cli: Cli, { project, count, from, giveUp }: Seen): Promise<ImportReport> {
  const steps = from !== undefined && isDump(from) ? OF_FILES : OF_SERVERS;
  const { id } = await cli.client().branches.get(project, 'main');
  const progress = createProgress(cli);
  let report: ImportReport | undefined;
  try {
    await waitFor<BranchView>(cli, {
      kind: 'branch',
      name: id,
      timeoutMs: LONGEST_MS,
      what: `the data of project ${project}`,
      probe(objects) {
        const seen = objects.get(id);
        if (seen === undefined) throw new OffshootError('api/not-found', { kind: 'project', name: project });
        const { import: now, state, message, hint } = seen;
        if (now?.count === count) {
          progress.show(stepsOf(now, steps));
          if (now.state === 'failed')
            throw new OffshootError('import/ended', { project, why: now.message, hint: now.hint });
          if (now.state === 'done') report = now.report;
        }
        // One that failed because of an import before is about to begin anew.
        const before = now !== undefined && now.count < count && now.state === 'failed';
        if (state === 'failed' && !before)
          throw new OffshootError('branch/failed', { name: 'main', why: message, hint });
        return report !== undefined && state === 'ready' ? true : undefined;
      },
    });
    return report!;
  } catch (error) {
    if (cli.signal.aborted) await endIt(cli, project, giveUp);
    throw error;
  } finally {
    progress.end();
  }
}

/** What came, and what did not. */
export function sayReport(
  cli: Cli,
  { tables, rows, bytes, ms, version, leftOut, masked }: ImportReport,
): void {
  const from = version === '' ? '' : ` from PostgreSQL ${version}`;
  say(cli, `${tables} tables, ${rows} rows, ${bytesText(bytes)}${from} in ${took(ms)}`);
  if (masked !== undefined && masked.columns > 0)
    say(cli, `${masked.columns} columns of ${masked.tables} tables are masked`);
  if (leftOut.length === 0) return;
  say(
    cli,
    `${leftOut.length === 1 ? 'one thing' : `${leftOut.length} things`} did not come as at the source:`,
  );
  for (const { what, why } of leftOut) say(cli, `  ${what}: ${why}`);
}

/** Progress for `project get`. */
export const importText = (status: Pick<ImportStatus, 'progress' | 'message'> & { state: string }): string =>
  status.state === 'running' ? progressText(status.progress) : (status.message ?? status.state);

// --- internal -----------------------------------------------------------------------------------

/** The longest that a timer can be; an import takes as long as it takes. */
const LONGEST_MS = 2 ** 31 - 1;

type Steps = readonly (readonly [ImportPhase, string])[];

const OF_FILES: Steps = [
  ['connecting', 'kind of dump'],
  ['file', 'dump loaded'],
  ['rest', 'rights'],
  ['ending', 'written to disk'],
];

const OF_SERVERS: Steps = [
  ['connecting', 'source'],
  ['schema', 'schema'],
  ['data', 'rows'],
  ['indexes', 'indexes and constraints'],
  ['rest', 'rights and comments'],
  ['checking', 'check'],
  ['masking', 'SQL of the mask'],
  ['ending', 'written to disk'],
];

function stepsOf({ state, progress }: ImportStatus, steps: Steps): readonly ProgressStep[] {
  const at =
    state === 'done'
      ? steps.length
      : steps.findIndex(([phase]) => phase === (progress?.phase ?? 'connecting'));
  return steps.map(([, label], i) => {
    if (i < at) return { label, state: 'done' };
    if (i > at) return { label, state: 'waiting' };
    const isLong = progress?.phase === 'data' || progress?.phase === 'file';
    const detail = isLong ? { detail: progressText(progress).replace(/^.*?: /, '') } : {};
    return { label, state: state === 'failed' ? 'failed' : 'running', ...detail };
  });
}

/** Nobody has begun to use it, so nothing is lost that was there before. */
async function endIt(cli: Cli, project: string, giveUp: 'delete' | 'cancel'): Promise<void> {
  const { projects } = createClient(cli.client().connection, AbortSignal.timeout(10_000));
  try {
    if (giveUp === 'delete') await projects.delete(project, { now: true });
    else await projects.cancel(project);
    say(cli, `the import is cancelled${giveUp === 'delete' ? `, and project ${project} is removed` : ''}`);
  } catch (error) {
    say(cli, `the import goes on: ${(error as Error).message}`);
  }
}
