/** Makes objects at the target. One that fails is said, and so is each that needs it; the rest goes on. */
import { escapeIdentifier } from 'pg';
import type { DbObject } from './catalog/contract.ts';
import type { Session } from './session.ts';

export type LeftOut = { readonly what: string; readonly why: string };

/** @param nameOf the role that stands for one of the source */
export async function makeObject(
  object: DbObject,
  target: Session,
  nameOf: (role: string) => string | undefined,
): Promise<LeftOut | undefined> {
  const { sql, ident, owner, what } = object;
  for (let tries = 0; ; tries++) {
    try {
      for (const statement of sql) await target.query(statement);
      break;
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      // Two foreign keys may lock the same tables in another order.
      if (code === DEADLOCK && tries < 10) continue;
      return { what, why: message };
    }
  }
  const name = owner === undefined ? undefined : nameOf(owner);
  if (ident === undefined || owner === undefined) return undefined;
  if (name === undefined) return { what: `owner of ${what}`, why: `there is no role ${owner} here` };
  try {
    await target.query(`ALTER ${ident} OWNER TO ${escapeIdentifier(name)}`);
    return undefined;
  } catch (error) {
    return { what: `owner of ${what}`, why: (error as Error).message };
  }
}

/** The same for many, on several sessions at once. */
export async function makeObjects(
  objects: readonly DbObject[],
  targets: readonly Session[],
  nameOf: (role: string) => string | undefined,
  signal: AbortSignal,
): Promise<readonly LeftOut[]> {
  const queue = [...objects];
  const leftOut: LeftOut[] = [];
  await Promise.all(
    targets.map(async target => {
      for (let object = queue.shift(); object !== undefined; object = queue.shift()) {
        signal.throwIfAborted();
        const missing = await makeObject(object, target, nameOf);
        if (missing !== undefined) leftOut.push(missing);
      }
    }),
  );
  return leftOut;
}

/** Statements of which each stands for itself. */
export async function say(
  statements: readonly { readonly what: string; readonly sql: string | readonly string[] }[],
  target: Session,
): Promise<readonly LeftOut[]> {
  const leftOut: LeftOut[] = [];
  for (const { what, sql } of statements)
    try {
      for (const statement of [sql].flat()) await target.query(statement);
    } catch (error) {
      leftOut.push({ what, why: (error as Error).message });
    }
  return leftOut;
}

// --- internal -----------------------------------------------------------------------------------

const DEADLOCK = '40P01';
