/** What a script that did not end well is called, and what of its output may be shown. */
import { maskIn, maskUrls } from '../lib/mask.ts';
import { OffshootError } from '../model/errors.ts';
import { secretsIn } from '../model/secret-values.ts';
import type { StepDone, StepSpec } from './contract.ts';
import { missingCommand } from './interpreter.ts';

export type ScriptExit = {
  /** undefined: it could not be started, or a signal ended it; `how` then says more. */
  readonly code: number | undefined;
  /** e.g. `exit code 3`, `signal SIGKILL` */
  readonly how: string;
  /** We ended it, because the deadline passed or the daemon stops. */
  readonly stopped: boolean;
};

/** Ids go from the sandbox down to the step. */
export const stepName = (id: string): string => id.split('.').at(-1)!;

/** Folders in which an image's programs are: one of ours in their place would hide them. */
export const systemFolders: readonly string[] = [
  ...['/', '/bin', '/etc', '/lib', '/lib64', '/sbin'],
  ...['/usr', '/usr/bin', '/usr/lib', '/usr/sbin'],
];

/** Lines of output to look at, so that the last ones can be masked as part of what they are part of. */
export const LINES_READ = 200;

/** What is kept of the output of a script that ended well. @param lines the last of it */
export function scriptSaid(
  lines: readonly string[],
  spec: StepSpec,
  outputs: Readonly<Record<string, string>>,
): Pick<StepDone, 'said'> {
  const text = masked(lines, spec, outputs);
  if (text.trim() === '') return {};
  // A line that was cut may be a half of one.
  const said = text.length <= SAID ? text : text.slice(-SAID).replace(/^.*?(\n|$)/, '');
  return { said: said.replace(/\n$/, '').split('\n') };
}

/**
 * @param lines the last of its output
 * @param outputs those that it made before it failed
 */
export function scriptFailure(
  step: string,
  { code, how, stopped }: ScriptExit,
  lines: readonly string[],
  spec: StepSpec,
  outputs: Readonly<Record<string, string>>,
): OffshootError {
  const output = masked(lines, spec, outputs).split('\n').slice(-LINES_KEPT).join('\n');
  if (stopped) return new OffshootError('step/timeout', { step }, { output });
  if (code === 126 || code === 127)
    return new OffshootError('step/command-not-found', { step, command: missingCommand(output) }, { output });
  return new OffshootError('step/failed', { step, how }, { output });
}

// --- internal -----------------------------------------------------------------------------------

/** Of one that failed, for a status. */
const LINES_KEPT = 20;
/** Characters of one that ended well: they are kept with the sandbox, where a cluster has a megabyte for all. */
const SAID = 8_192;

/** Masked as a whole, because a secret may have several lines, and cut afterwards. */
function masked(lines: readonly string[], spec: StepSpec, outputs: Readonly<Record<string, string>>): string {
  const values = [
    ...spec.inputs.map(({ name, value }) => [name, value] as const),
    ...Object.entries(spec.env),
    ...Object.entries(outputs),
  ];
  const secrets = values.flatMap(([name, value]) => secretsIn(name, value));
  return maskUrls(maskIn(lines.join('\n'), secrets));
}
