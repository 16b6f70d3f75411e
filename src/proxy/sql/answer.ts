/** Answers of SQL over HTTP, in the form that the driver of Neon reads. */
import { OffshootError } from '../../model/errors.ts';
import type { Answer } from './run.ts';

export type Reply = { readonly status: number; readonly body: string };

/** @param isBatch whether a list was asked for */
export function replyOf(answers: readonly Answer[], isBatch: boolean): Reply {
  const [first] = answers;
  return { status: 200, body: JSON.stringify(isBatch ? { results: answers } : first) };
}

/**
 * What PostgreSQL, or the gateway before it, has said is 400 with the fields of its message; the driver makes an error
 * of PostgreSQL from that, and from no other status.
 */
export function replyToFailure(error: unknown): Reply {
  if (isFromServer(error)) {
    const said = Object.fromEntries(FIELDS.map(name => [name, error[name]]));
    return { status: 400, body: JSON.stringify({ message: error.message, ...said }) };
  }
  const ours =
    error instanceof OffshootError ? error : new OffshootError('sql/connection-lost', {}, { cause: error });
  return { status: ours.row.http, body: JSON.stringify({ message: messageOf(ours), ...ours.toBody() }) };
}

// --- internal ------------------------------------------------------------------------------------

/** "Error and Notice Message Fields", by the names that node-postgres gives them. */
const FIELDS = [
  ...['code', 'severity', 'detail', 'hint', 'position', 'internalPosition', 'internalQuery', 'where'],
  ...['schema', 'table', 'column', 'dataType', 'constraint', 'file', 'line', 'routine'],
] as const;

type FromServer = Error & { readonly [name in (typeof FIELDS)[number]]?: string };

/** By its fields: the class would have to be loaded. */
const isFromServer = (error: unknown): error is FromServer =>
  error instanceof Error && !(error instanceof OffshootError) && 'severity' in error && 'code' in error;

const messageOf = ({ message, hint }: OffshootError): string =>
  hint === undefined ? message : `${message}: ${hint}`;
