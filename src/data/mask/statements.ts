/**
 * SQL of a mask, on a database that nobody else reaches, as the owner of the project: so it does what he might do in a branch,
 * and no more. Triggers of the source do not run meanwhile, for they may write down what was there before.
 */
import { randomBytes } from 'node:crypto';
import { escapeIdentifier, escapeLiteral } from 'pg';
import { scramVerifier } from '../../lib/scram.ts';
import { OffshootError } from '../../model/errors.ts';
import { openSource, openTarget, type Session, type TargetAddress } from '../session.ts';

/**
 * @param target where a superuser logs in
 * @throws OffshootError mask/sql-failed, without values of rows
 */
export async function runStatements(
  target: TargetAddress,
  role: string,
  statements: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const password = randomBytes(24).toString('hex');
  const admin = await openTarget(target);
  const name = escapeIdentifier(role);
  const verifier = escapeLiteral(await scramVerifier(password));
  let session: Session | undefined;
  const stop = () => session?.client.end().catch(() => {});
  signal.addEventListener('abort', stop, { once: true });
  try {
    await admin.query(
      `ALTER ROLE ${name} PASSWORD ${verifier}; ALTER ROLE ${name} SET session_replication_role = replica`,
    );
    const { socketDir, database } = target;
    const server = { host: socketDir, port: 5432, user: role, database, sslmode: 'disable' } as const;
    session = await openSource(server, password);
    for (const [i, statement] of statements.entries()) {
      signal.throwIfAborted();
      await session.query(statement).catch(error => {
        signal.throwIfAborted();
        throw new OffshootError('mask/sql-failed', { number: i + 1, why: whyOf(error) });
      });
    }
    await admin.query(`ALTER ROLE ${name} PASSWORD NULL; ALTER ROLE ${name} RESET session_replication_role`);
  } finally {
    signal.removeEventListener('abort', stop);
    await session?.close();
    await admin.close();
  }
}

// --- internal -----------------------------------------------------------------------------------

/** Sentences about syntax and names (class 42 of SQLSTATE) are about the statement; others may quote a row. */
function whyOf({ code = '', message, constraint }: Error & { code?: string; constraint?: string }): string {
  if (code.startsWith('42')) return message;
  return `SQLSTATE ${code === '' ? 'unknown' : code}${constraint === undefined ? '' : `, by ${constraint}`}`;
}
