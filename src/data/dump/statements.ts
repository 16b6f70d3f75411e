/** What stands in a dump, statement by statement: what is done with it, and what is told of it. Pure. */

export type Plan =
  | { readonly do: 'skip'; readonly note?: Note }
  | { readonly do: 'run'; readonly text: string; readonly note?: Note };

export type Note = { readonly what: string; readonly why: string };

export type Around = {
  /** The project's. */
  readonly database: string;
  readonly role: string;
  readonly schemaOnly: boolean;
};

/** @param text a byte in each character */
export function planOf(text: string, { database, role, schemaOnly }: Around): Plan {
  if (schemaOnly && isRows(text)) return SKIP;
  if (/^(CREATE|DROP)\s+DATABASE\b/i.test(text)) return { do: 'skip', ...localeNote(text) };
  if (/^(ALTER|COMMENT\s+ON)\s+DATABASE\b/i.test(text) && /\b(OWNER\s+TO|TABLESPACE)\b/i.test(text))
    return SKIP;
  const [, named] = ROLE.exec(text) ?? [];
  if (named !== undefined) {
    if (plain(named) === role && !/^ALTER\s+\w+\s+\S+(\s+IN\s+DATABASE\s+\S+)?\s+(RE)?SET\b/i.test(text))
      return SKIP;
    return ofRole(renamed(text, database), plain(named));
  }
  if (MEMBERSHIP.test(text)) return { do: 'run', text: text.replace(/\s+GRANTED\s+BY\s+\S+$/i, '') };
  return { do: 'run', text: renamed(text, database) };
}

/** Whether a statement is about rows, which must not be missing without a word; all others are about what a schema holds. */
export const isRows = (text: string): boolean =>
  /^(COPY|INSERT|UPDATE|DELETE|MERGE|TRUNCATE)\b/i.test(text) ||
  /^SELECT\s+(pg_catalog\.)?(setval|lo_\w+|lowrite|loread|lo)\s*\(/i.test(text);

export const copiesRows = (text: string): boolean => /^COPY\b[\s\S]*\bFROM\s+STDIN\b/i.test(text);

/** The table of a COPY as pg_dump writes it; undefined: it says more. */
export const plainCopy = (text: string): string | undefined =>
  new RegExp(`^COPY\\s+(${NAME})\\s*(?:\\([^()]*\\)\\s*)?FROM\\s+stdin$`, 'i').exec(text)?.[1];

/** For people, a byte in each character: what it is about, without what may be a value or a secret. */
export function titleOf(text: string): string {
  const head = text
    .slice(0, 1_000)
    .replace(/['$(][\s\S]*$| AS\s[\s\S]*$/i, '')
    .replace(/\s+/g, ' ')
    .trim()
    .replace(/ (IS|AS|WITH|VALUES|USING|OPTIONS|CONNECTION|PASSWORD|FROM stdin)$/i, '')
    .replace(/^(COPY|INSERT INTO) /i, 'rows of ');
  return head.length > MOST_TITLE ? `${head.slice(0, MOST_TITLE)}\xe2\x80\xa6` : head;
}

/** What a statement would make, as it names it. */
export function madeBy(text: string): string | undefined {
  const found = new RegExp(
    `^CREATE\\s+(?:OR\\s+REPLACE\\s+)?(?:UNLOGGED\\s+|FOREIGN\\s+|MATERIALIZED\\s+|EVENT\\s+)?(?:TABLE|TYPE|DOMAIN|VIEW|SEQUENCE|SCHEMA|EXTENSION|FUNCTION|PROCEDURE|AGGREGATE|SERVER|PUBLICATION|SUBSCRIPTION|TRIGGER|FOREIGN\\s+DATA\\s+WRAPPER|TABLESPACE)\\s+(?:IF\\s+NOT\\s+EXISTS\\s+)?(${NAME})`,
    'i',
  ).exec(text)?.[1];
  return found === undefined ? undefined : plain(found);
}

/** What an error misses: `relation "app.orders" does not exist`. */
export const missedBy = (message: string): string | undefined =>
  /^[\w ]+? "?([^"]+?)"?(?:\([^)]*\))? does not exist/.exec(message)?.[1];

/** Says something more of what is there already: where that is not, its own line has said so. */
export const isAboutOther = (text: string): boolean =>
  /^(ALTER|COMMENT|GRANT|REVOKE|SELECT|CREATE\s+(UNIQUE\s+)?INDEX|CREATE\s+STATISTICS)\b/i.test(text);

/** Where what fails changes nothing: it is there, or not there, as it should be. */
export function isNothingNew(text: string, code: string): boolean {
  if (/^DROP\b/i.test(text) || /^ALTER\s+TABLE\b[\s\S]*\bDROP\s+CONSTRAINT\b/i.test(text))
    return MISSING.has(code);
  if (/^SET\b/i.test(text)) return code === '42704'; // a setting that this version does not have
  if (/\b(EXTENSION|LANGUAGE)\s+"?plpgsql"?/i.test(text)) return true;
  if (/^CREATE\s+SCHEMA\s+"?public"?$/i.test(text)) return code === '42P06';
  return /^CREATE\s+(ROLE|USER|GROUP)\b/i.test(text) && code === '42710';
}

/** SQLSTATE of what is not there. */
export const MISSING: ReadonlySet<string> = new Set(['42P01', '42704', '42883', '3F000', '42703']);

/** `OWNER TO` of a statement; undefined: it is none. */
export const newOwner = (text: string): string | undefined =>
  new RegExp(`^ALTER\\b[\\s\\S]*\\bOWNER\\s+TO\\s+(${IDENT})$`, 'i').exec(text)?.[1];

/** The role that a statement makes, as it names it. */
export const newRole = (text: string): string | undefined =>
  new RegExp(`^CREATE\\s+(?:ROLE|USER|GROUP)\\s+(?!MAPPING\\b)(${IDENT})`, 'i').exec(text)?.[1];

/** A name as the catalogue has it. */
export const plain = (name: string): string =>
  name.replace(/"((?:[^"]|"")*)"|([^".]+)/g, (_, quoted?: string, bare?: string) =>
    quoted === undefined ? bare!.toLowerCase() : quoted.replaceAll('""', '"'),
  );

// --- internal -----------------------------------------------------------------------------------

const SKIP: Plan = { do: 'skip' };
const MOST_TITLE = 100;

const IDENT = `(?:"(?:[^"]|"")+"|[A-Za-z_\\x80-\\xff][\\w$\\x80-\\xff]*)`;
const NAME = `${IDENT}(?:\\.${IDENT})*`;

const ROLE = new RegExp(`^(?:CREATE|ALTER)\\s+(?:ROLE|USER|GROUP)\\s+(?!MAPPING\\b)(${IDENT})`, 'i');
const MEMBERSHIP = new RegExp(`^GRANT\\s+${IDENT}\\s+TO\\s+${IDENT}\\b`, 'i');

/** What is said of the database that was dumped is said of the project's. */
const renamed = (text: string, database: string): string =>
  text.replace(
    new RegExp(
      `^((?:ALTER|COMMENT\\s+ON|(?:GRANT|REVOKE)\\b[\\w\\s,]*?\\bON|ALTER\\s+(?:ROLE|USER)\\s+${IDENT}\\s+IN)\\s+DATABASE\\s+)${IDENT}`,
      'i',
    ),
    (_, before: string) => `${before}"${database.replaceAll('"', '""')}"`,
  );

/** Nobody in a project is a superuser; passwords stay away, as those of a running source do. */
function ofRole(text: string, name: string): Plan {
  if (!/\bPASSWORD\s|\b(NO)?(SUPERUSER|REPLICATION|BYPASSRLS)\b/i.test(text)) return { do: 'run', text };
  const without = text
    .replace(/\s+(ENCRYPTED\s+)?PASSWORD\s+('(?:[^']|'')*'|NULL)/gi, '')
    .replace(/\s+(SUPERUSER|REPLICATION|BYPASSRLS|NOSUPERUSER|NOREPLICATION|NOBYPASSRLS)\b/gi, '')
    .replace(/\s+WITH\s*$/i, '');
  const [, what, why] = LOST.find(([is]) => is.test(text)) ?? [];
  const says = what === undefined ? {} : { note: { what: what.replace('NAME', () => name), why } };
  return /^ALTER\s+\w+\s+\S+$/i.test(without)
    ? { do: 'skip', ...says }
    : { do: 'run', text: without, ...says };
}

/** Of what a role may, the most that it loses. */
const LOST = [
  [/\sSUPERUSER\b/i, 'superuser NAME', 'here it is an ordinary role, without a password'],
  [/\sREPLICATION\b/i, 'replication by NAME', 'nobody in a project may'],
  [/\sBYPASSRLS\b/i, 'the passing of row security by NAME', 'nobody in a project may'],
  [/\bPASSWORD\s+'/i, 'password of NAME', 'the owner of the project may set another'],
] as const satisfies readonly (readonly [RegExp, string, string])[];

function localeNote(text: string): { readonly note?: Note } {
  const locale = /\b(?:LOCALE|LC_COLLATE)\s*=?\s*'([^']*)'/i.exec(text)?.[1];
  if (locale === undefined || /^(C|POSIX|C\.UTF-?8)$/i.test(locale)) return {};
  return {
    note: {
      what: `locale ${locale}`,
      why: 'texts sort by code point here (C.UTF-8), unless a column says otherwise',
    },
  };
}
