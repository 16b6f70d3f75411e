/** What may stand at the cursor: words of SQL, and the names that the database has. */

import { rowsOf, type SqlSession } from '../../sql/session.ts';
import { questionHelp } from './describe.ts';

/**
 * @param begun the statement so far, without the line that is typed
 * @returns for readline: candidates, and the text that they replace. Never rejects
 */
export function completer(
  session: SqlSession,
  begun: () => string,
): (line: string) => Promise<[string[], string]> {
  return async line => {
    const word = /(?:\\?[\w.$"\x80-\uffff]+|\\)$/.exec(line)?.[0] ?? '';
    if (word.startsWith('\\')) return [COMMANDS.filter(command => command.startsWith(word)), word];
    const upper = word !== '' && word === word.toUpperCase();
    const keywords = WORDS.filter(each => each.startsWith(word.toUpperCase())).map(each =>
      upper ? each : each.toLowerCase(),
    );
    if (word === '' && !/\b(from|join|into|update|table|view)\s+$/i.test(line)) return [[], word];
    const names = session.transaction() === 'E' ? [] : await namesLike(session, word, `${begun()} ${line}`);
    return [[...new Set([...names, ...(word === '' ? [] : keywords)])].sort(), word];
  };
}

// --- internal -----------------------------------------------------------------------------------

const MOST = 100;

/** Relations that are visible, schemas, relations of the schema that is named, columns of relations that the statement names. */
async function namesLike(session: SqlSession, word: string, statement: string): Promise<readonly string[]> {
  const text = (value: string): string => `'${value.replaceAll("'", "''")}'`;
  const prefix = text(word.toLowerCase());
  const mentioned = [...new Set(statement.toLowerCase().match(/[\w$]+/g) ?? [])].slice(0, MOST).map(text);
  const names = `SELECT DISTINCT name FROM (
    SELECT pg_catalog.quote_ident(relname) AS name FROM pg_catalog.pg_class
      WHERE relkind IN ('r','p','v','m','f','S') AND pg_catalog.pg_table_is_visible(oid)
        AND (${text(word)} LIKE 'pg\\_%' OR relname NOT LIKE 'pg\\_%')
    UNION ALL SELECT pg_catalog.quote_ident(nspname) || '.' FROM pg_catalog.pg_namespace WHERE nspname NOT LIKE 'pg\\_%'
    UNION ALL SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname)
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind IN ('r','p','v','m','f','S') AND pg_catalog.strpos(${prefix}, '.') > 0
    UNION ALL SELECT pg_catalog.quote_ident(a.attname) FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
      WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relname IN (${[...mentioned, "''"].join(',')}) AND pg_catalog.pg_table_is_visible(c.oid)
  ) AS names WHERE pg_catalog.starts_with(pg_catalog.lower(name), ${prefix}) ORDER BY 1 LIMIT ${MOST}`;
  const found = await rowsOf(session, names).catch(() => undefined);
  return found?.rows.map(([name]) => name!) ?? [];
}

const WORDS: readonly string[] = [
  ...[
    'ALTER',
    'AND',
    'ANALYZE',
    'AS',
    'ASC',
    'BEGIN',
    'BETWEEN',
    'BY',
    'CASCADE',
    'CASE',
    'COLUMN',
    'COMMIT',
  ],
  ...[
    'CONFLICT',
    'CONSTRAINT',
    'COPY',
    'CREATE',
    'CROSS',
    'DEFAULT',
    'DELETE',
    'DESC',
    'DISTINCT',
    'DO',
    'DROP',
  ],
  ...[
    'ELSE',
    'END',
    'EXCEPT',
    'EXISTS',
    'EXPLAIN',
    'EXTENSION',
    'FALSE',
    'FOREIGN',
    'FROM',
    'FULL',
    'FUNCTION',
  ],
  ...[
    'GRANT',
    'GROUP',
    'HAVING',
    'IF',
    'ILIKE',
    'IN',
    'INDEX',
    'INNER',
    'INSERT',
    'INTERSECT',
    'INTO',
    'IS',
    'JOIN',
  ],
  ...[
    'KEY',
    'LATERAL',
    'LEFT',
    'LIKE',
    'LIMIT',
    'MATERIALIZED',
    'NOT',
    'NULL',
    'OFFSET',
    'ON',
    'OR',
    'ORDER',
    'OVER',
  ],
  ...[
    'PARTITION',
    'PRIMARY',
    'REFERENCES',
    'RELEASE',
    'RENAME',
    'RETURNING',
    'REVOKE',
    'RIGHT',
    'ROLE',
    'ROLLBACK',
  ],
  ...[
    'SAVEPOINT',
    'SCHEMA',
    'SELECT',
    'SEQUENCE',
    'SET',
    'SHOW',
    'TABLE',
    'THEN',
    'TO',
    'TRIGGER',
    'TRUE',
    'TRUNCATE',
  ],
  ...[
    'TYPE',
    'UNION',
    'UNIQUE',
    'UPDATE',
    'USING',
    'VACUUM',
    'VALUES',
    'VIEW',
    'WHEN',
    'WHERE',
    'WINDOW',
    'WITH',
  ],
];

const COMMANDS: readonly string[] = [
  ...[
    '\\?',
    '\\c',
    '\\copy',
    '\\conninfo',
    '\\echo',
    '\\g',
    '\\gexec',
    '\\gset',
    '\\i',
    '\\o',
    '\\p',
    '\\q',
    '\\r',
  ],
  ...['\\set', '\\sf', '\\timing', '\\unset', '\\x'],
  ...questionHelp().flatMap(([names]) =>
    names
      .replace(/ .*/, '')
      .split(', ')
      .map(name => `\\${name}`),
  ),
];
