/**
 * What an owner who is no superuser lacks while a dump is loaded, and may be lent: roles that the dump names without making
 * them, and what PostgreSQL asks of whoever becomes the owner of something. Nothing of a dump runs as superuser for it.
 */
import { escapeIdentifier } from 'pg';
import { decoded } from '../../sql/scanner.ts';
import type { Session } from '../session.ts';
import type { LeftOutList } from './left-out.ts';
import { newOwner, newRole, plain } from './statements.ts';

export type Lenders = {
  /** Before a statement: what was lent ends before the dump says itself who may what. */
  before(text: string): Promise<void>;
  /** @returns whether it is done: a role is made by us where no owner may make any */
  instead(text: string): Promise<boolean>;
  /** @returns whether the statement that failed is worth another try */
  help(text: string, code: string, why: string): Promise<boolean>;
  end(): Promise<void>;
};

/**
 * @param admin superuser's, in the database that is filled
 * @param major version of that server
 */
export function openLenders(admin: Session, owner: string, major: number, leftOut: LeftOutList): Lenders {
  const lent = new Map<string, string>();
  const takeBack = async (): Promise<void> => {
    const statements = [...lent.values()];
    lent.clear();
    // What it is about may be gone by now.
    for (const statement of statements) await admin.query(statement).catch(() => {});
  };
  const make = async (role: string): Promise<boolean> => {
    const name = escapeIdentifier(role);
    const how = major >= 16 ? 'ADMIN TRUE, INHERIT TRUE, SET TRUE' : 'ADMIN OPTION';
    try {
      await admin.query(
        `CREATE ROLE ${name} NOLOGIN; GRANT ${name} TO ${escapeIdentifier(owner)} WITH ${how}`,
      );
      return true;
    } catch {
      return false; // it is there, or its name is one of PostgreSQL's
    }
  };
  return {
    async instead(text) {
      const role = major >= 16 ? undefined : newRole(text);
      if (role === undefined) return false;
      const name = plain(decoded(role));
      if (await make(name))
        leftOut.add({
          what: `role ${name}`,
          why: 'before PostgreSQL 16 it is made without a login and other rights',
        });
      return true;
    },

    async before(text) {
      if (lent.size > 0 && /^(GRANT|REVOKE)\b[\s\S]*?\bON\s+(SCHEMA|DATABASE)\b/i.test(text))
        await takeBack();
    },

    async help(text, code, why) {
      const role = /^role "(.*)" does not exist$/s.exec(why)?.[1];
      if (role !== undefined && code === '42704') {
        if (/^(DROP|SET)\b/i.test(text)) return false;
        if (!(await make(role))) return false;
        leftOut.add({
          what: `role ${role}`,
          why: 'the dump names it and does not make it; here it may not log in',
        });
        return true;
      }
      const to = newOwner(text);
      const [, kind, name] = /^permission denied for (schema|database) (.*)$/s.exec(why) ?? [];
      if (
        code !== '42501' ||
        to === undefined ||
        name === undefined ||
        /^(pg_|information_schema$)/.test(name)
      )
        return false;
      const what = `${kind!.toUpperCase()} ${escapeIdentifier(name)}`;
      const who = escapeIdentifier(plain(decoded(to)));
      const key = `${what} ${who}`;
      if (lent.has(key)) return false;
      await admin.query(`GRANT CREATE ON ${what} TO ${who}`);
      lent.set(key, `REVOKE CREATE ON ${what} FROM ${who}`);
      return true;
    },

    end: takeBack,
  };
}
