/**
 * Tools that teams migrate with, as they are, against a branch. They are found in OFFSHOOT_TEST_MIGRATION_TOOLS, a folder with a
 * `node_modules` of its own (npm install knex pg drizzle-kit drizzle-orm prisma node-pg-migrate postgrator-cli), and on the PATH.
 */
import { join } from 'node:path';
import { root } from './daemon.ts';

export type MigrationTool = {
  readonly name: string;
  /** Program, found in the folder's `node_modules/.bin`, or on the PATH. */
  readonly program: string;
  readonly command: string;
  /** A file in `node_modules` that the tool fetches when it is installed, of a name that begins so. */
  readonly needs?: string;
  readonly files: Readonly<Record<string, string>>;
};

const TABLE = 'CREATE TABLE books (id int PRIMARY KEY, title text);';

export const migrationTools: readonly MigrationTool[] = [
  {
    name: 'a script of SQL by offshoot itself',
    program: 'sh',
    command: `${join(root, 'offshoot')} sql -1 -f schema.sql`,
    files: { 'schema.sql': `\\set ON_ERROR_STOP on\n${TABLE}\n` },
  },
  {
    name: 'psql',
    program: 'psql',
    command: 'psql -X -v ON_ERROR_STOP=1 -f schema.sql',
    files: { 'schema.sql': TABLE },
  },
  {
    name: 'Prisma',
    program: 'prisma',
    command: 'prisma migrate deploy',
    needs: '@prisma/engines/schema-engine',
    files: {
      'prisma/schema.prisma': 'datasource db {\n  provider = "postgresql"\n}\n',
      'prisma.config.mjs':
        'export default { schema: "prisma/schema.prisma", migrations: { path: "prisma/migrations" }, datasource: { url: process.env.DATABASE_URL } };\n',
      'prisma/migrations/migration_lock.toml': 'provider = "postgresql"\n',
      'prisma/migrations/20260101000000_books/migration.sql': TABLE,
    },
  },
  {
    name: 'Drizzle',
    program: 'drizzle-kit',
    command: 'drizzle-kit migrate --config drizzle.config.mjs',
    files: {
      'drizzle.config.mjs':
        'export default { dialect: "postgresql", out: "./drizzle", dbCredentials: { url: process.env.DATABASE_URL } };\n',
      'drizzle/0000_books.sql': TABLE,
      'drizzle/meta/_journal.json': JSON.stringify({
        ...{ version: '7', dialect: 'postgresql' },
        entries: [{ idx: 0, version: '7', when: 1_760_000_000_000, tag: '0000_books', breakpoints: true }],
      }),
    },
  },
  {
    name: 'Knex',
    program: 'knex',
    command: 'knex migrate:latest',
    files: {
      'knexfile.js': 'module.exports = { client: "pg", connection: process.env.DATABASE_URL };\n',
      'migrations/1_books.js': `exports.up = knex => knex.raw(${JSON.stringify(TABLE)});\nexports.down = () => {};\n`,
    },
  },
  {
    name: 'node-pg-migrate (up and down, one after the other, as Alembic)',
    program: 'node-pg-migrate',
    command: 'node-pg-migrate up',
    files: {
      'migrations/1_books.js': `exports.up = pgm => pgm.sql(${JSON.stringify(TABLE)});\nexports.down = false;\n`,
    },
  },
  {
    name: 'Postgrator (numbered SQL with checksums, as Flyway)',
    program: 'postgrator',
    command:
      'postgrator --migration-pattern "migrations/*" --driver pg --host "$PGHOST" --port "$PGPORT" --database "$PGDATABASE" --username "$PGUSER"',
    files: { 'migrations/001.do.books.sql': TABLE },
  },
  {
    name: 'Alembic',
    program: 'alembic',
    command: 'alembic upgrade head',
    files: {
      'alembic.ini': '[alembic]\nscript_location = alembic\n',
      'alembic/script.py.mako': '',
      'alembic/env.py':
        'import os\nfrom alembic import context\nfrom sqlalchemy import create_engine\n' +
        'with create_engine(os.environ["DATABASE_URL"]).connect() as connection:\n' +
        '    context.configure(connection=connection)\n' +
        '    with context.begin_transaction():\n        context.run_migrations()\n',
      'alembic/versions/books.py': `from alembic import op\nrevision = "1"\ndown_revision = None\ndef upgrade():\n    op.execute(${JSON.stringify(TABLE)})\n`,
    },
  },
];
