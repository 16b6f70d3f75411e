/**
 * Every error a user can meet, in one table: code → who is at fault, HTTP status, SQLSTATE, exit code,
 * whether trying again can help, the sentence and the hint. Everything else (API bodies, exit codes,
 * `docs/errors.md`) is derived from the rows. The rows live in one file per area beside this one.
 */
import { apiErrors } from './errors/api.ts';
import { branchErrors } from './errors/branch.ts';
import { deployErrors } from './errors/deploy.ts';
import { documentErrors } from './errors/document.ts';
import { environmentErrors } from './errors/environment.ts';
import { forkErrors } from './errors/fork.ts';
import { gatewayErrors } from './errors/gateway.ts';
import { historyErrors } from './errors/history.ts';
import { hostErrors } from './errors/host.ts';
import { identityErrors } from './errors/identity.ts';
import { importErrors } from './errors/import.ts';
import { kubernetesErrors } from './errors/kubernetes.ts';
import { maskErrors } from './errors/mask.ts';
import { proxyErrors } from './errors/proxy.ts';
import { sandboxErrors } from './errors/sandbox.ts';
import { settingsErrors } from './errors/settings.ts';
import { sqlErrors } from './errors/sql.ts';
import { storeErrors } from './errors/store.ts';
import { trashErrors } from './errors/trash.ts';
import { trustErrors } from './errors/trust.ts';
import { volumeErrors } from './errors/volume.ts';
import { workloadErrors } from './errors/workload.ts';

export const errorTable = {
  ...apiErrors,
  ...branchErrors,
  ...deployErrors,
  ...documentErrors,
  ...environmentErrors,
  ...forkErrors,
  ...gatewayErrors,
  ...historyErrors,
  ...hostErrors,
  ...identityErrors,
  ...importErrors,
  ...kubernetesErrors,
  ...maskErrors,
  ...proxyErrors,
  ...sandboxErrors,
  ...settingsErrors,
  ...sqlErrors,
  ...storeErrors,
  ...trashErrors,
  ...trustErrors,
  ...volumeErrors,
  ...workloadErrors,
} as const;

export type ErrorCode = keyof typeof errorTable;
export type ErrorParams = Readonly<Record<string, string | number | undefined>>;

/** One row of the table. `say` is read by clients, so it must never contain a secret. */
export type ErrorRow = {
  /** user: the request is wrong; system: the machine or we are; conflict: somebody else was first. */
  readonly fault: 'user' | 'system' | 'conflict';
  readonly http: number;
  /** SQLSTATE sent to PostgreSQL clients, where the error can reach one. */
  readonly sqlstate?: string;
  /** Exit code of the command line. 1 = refused or failed, 2 = bad usage or document, 3 = not found, 4 = not authorised, 5 = timed out. */
  readonly exit: 1 | 2 | 3 | 4 | 5;
  /** true: the control plane tries again with back-off; false: it waits for a changed request. */
  readonly retry: boolean;
  /** The machine's trouble of this moment, which says nothing of whom it hit: tried again soon, however often that was. */
  readonly passes?: true;
  /** One sentence: what is wrong, and where. */
  readonly say: (p: ErrorParams) => string;
  /** What to do about it. */
  readonly hint?: (p: ErrorParams) => string;
};

/** The shape in which an error leaves the process: API body, `-o json`, status. */
export type ErrorBody = {
  readonly code: ErrorCode;
  readonly error: string;
  readonly hint?: string;
  /** One entry per problem for documents; see model/document/problem.ts. */
  readonly problems?: readonly unknown[];
  /** Lines of output of the failed thing, secrets masked. */
  readonly output?: string;
};

/**
 * The only error class we throw on purpose. `message` is the sentence that the client may read; `cause`
 * and `detail` are what we know and log, and never leave the process.
 */
export class OffshootError extends Error {
  readonly code: ErrorCode;
  readonly params: ErrorParams;
  readonly detail: string | undefined;
  readonly problems: readonly unknown[] | undefined;
  readonly output: string | undefined;

  constructor(
    code: ErrorCode,
    params: ErrorParams = {},
    more: { cause?: unknown; detail?: string; problems?: readonly unknown[]; output?: string } = {},
  ) {
    super(
      (errorTable[code] as ErrorRow).say(params),
      more.cause === undefined ? undefined : { cause: more.cause },
    );
    this.name = 'OffshootError';
    this.code = code;
    this.params = params;
    this.detail = more.detail;
    this.problems = more.problems;
    this.output = more.output;
  }

  get row(): ErrorRow {
    return errorTable[this.code];
  }

  get hint(): string | undefined {
    return this.row.hint?.(this.params);
  }

  toBody(): ErrorBody {
    return {
      code: this.code,
      error: this.message,
      ...(this.hint === undefined ? {} : { hint: this.hint }),
      ...(this.problems === undefined ? {} : { problems: this.problems }),
      ...(this.output === undefined ? {} : { output: this.output }),
    };
  }
}

export const isErrorCode = (code: string): code is ErrorCode => Object.hasOwn(errorTable, code);

/**
 * Turns anything thrown into an OffshootError; what is not ours becomes `internal` with the cause kept. Want of file descriptors is
 * said as such, whatever it has made fail.
 */
export function toOffshootError(thrown: unknown): OffshootError {
  const isOurs = thrown instanceof OffshootError;
  if (isNoDescriptors(thrown) && !(isOurs && thrown.code === 'host/no-descriptors'))
    return new OffshootError('host/no-descriptors', {}, { cause: thrown });
  if (isOurs) return thrown;
  return new OffshootError('internal', {}, { cause: thrown });
}

/** EMFILE: this process has no more; ENFILE: the machine. Follows the chain of causes. */
function isNoDescriptors(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { code } = error as NodeJS.ErrnoException;
  return code === 'EMFILE' || code === 'ENFILE' || isNoDescriptors(error.cause);
}
