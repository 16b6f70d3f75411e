/** A mask against a real catalogue, and through a real COPY: what fits, what is forgotten, and what comes out. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openMask, suggestMask } from '../../src/data/mask.ts';
import { createProgress } from '../../src/data/progress.ts';
import { copyTables, verify } from '../../src/data/rows.ts';
import { openSource } from '../../src/data/session.ts';
import { type OpenedSource, openSnapshot } from '../../src/data/source.ts';
import type { ImportOptions } from '../../src/model/import.ts';
import { type MaskRules, readMaskRules } from '../../src/model/mask.ts';
import { readSourceAddress } from '../../src/model/source-address.ts';
import { sourceServer } from '../support/source-server.ts';

test('a mask', async t => {
  await using server = await sourceServer({ major: 18 });
  await server.sql('postgres', TABLES);
  await server.sql('postgres', ROWS);
  await server.sql('postgres', 'ANALYZE');
  await server.sql('postgres', 'CREATE DATABASE copy TEMPLATE postgres');
  await server.sql(
    'copy',
    'ALTER TABLE orders DROP CONSTRAINT orders_buyer_fkey; TRUNCATE people, orders, logs, notes, other, parent',
  );
  const address = readSourceAddress(server.url('postgres'), String);
  const within = async <R>(work: (source: OpenedSource) => Promise<R>, options: ImportOptions = {}) => {
    const source = await openSnapshot(address, options, 2 ** 40);
    try {
      return await work(source);
    } finally {
      await source.close();
    }
  };
  const open = (rules: MaskRules, options: ImportOptions = {}) =>
    within(
      source => openMask(source, rules, { secret: SECRET, rowless: options.schemaOnly ?? false }),
      options,
    );
  const fails = (rules: unknown, code: string, ...why: RegExp[]) =>
    assert.rejects(open(readMaskRules(rules)), (error: Error & { code: string }) => {
      assert.equal(error.code, code);
      for (const like of why) assert.match(error.message, like);
      return true;
    });

  await t.test('forgets no column that looks like a person’s, by its name or by values', async () => {
    await fails(
      {},
      'mask/uncovered',
      /people\.email \(its name\)/,
      /people\."Who ""A" \(values like names of people\)/,
      /people\.phone \(its name\)/,
      /people\.born \(its name\)/,
      /people\.mails \(values like e-mail addresses\)/,
      /people\.info \(values like e-mail addresses\)/,
      /people\.ip \(its type\)/,
      /people\.card \(values like numbers of cards\)/,
      /people\.account \(values like bank accounts\)/,
      /orders\.buyer \(values like e-mail addresses\)/,
      /logs\.client_address \(its name\)/,
      /notes\.text \(values like e-mail addresses\)/,
      /free\.remarks \(its name\)/,
    );
    await assert.rejects(open({ tables: {} }), (error: Error) => {
      assert.doesNotMatch(error.message, /people\.(id|kind|boss)|orders\.total|logs_\d|plain|@/);
      return true;
    });
    await open({ tables: {} }, { schemaOnly: true });
    await open({ tables: {}, keep: ['*.*'] });
  });

  await t.test('is suggested, and what is suggested fits', async () => {
    const rules = await within(source => suggestMask(source));
    const tables: Record<string, Record<string, unknown>> = {};
    for (const { table, column, rule } of rules) tables[table] = { ...tables[table], [column]: rule };
    assert.equal(tables['public.people']!.email, 'email');
    assert.equal(tables['public.orders']!.buyer, 'email');
    assert.equal(tables['public.notes']!.text, 'scramble');
    assert.equal(tables['public.logs']!.client_address, 'address');
    await open(readMaskRules({ tables }));
  });

  await t.test('does not fit: all of it is said at once', () =>
    fails(
      {
        tables: {
          peple: { email: 'email' },
          people: {
            id: 'hash',
            email: 'null',
            mail: 'hash',
            lower_email: 'hash',
            kind: { constant: 'no kind' },
            short: { constant: 'too long' },
            phone: 'phone',
            born: 'email',
            boss: { shift: 3, by: 'chief' },
          },
          other: { span: { constant: '[1,2)' }, code: 'city' },
          orders: { buyer: 'hash' },
          logs_a: { at: { shift: 3 } },
        },
        keep: ['people.nothing'],
      },
      'mask/does-not-fit',
      /the source has no table peple/,
      /people has no column mail;/,
      /people has no column nothing/,
      /public\.people\.id: its next values come from a sequence/,
      /public\.people\.email: it may not be NULL/,
      /public\.people\.lower_email is computed from other columns/,
      /public\.people\.kind: invalid input value for enum/,
      /public\.people\.short: the constant is too long for character varying\(5\)/,
      /public\.people\.born: email is not for date/,
      /public\.people\.boss: shift is not for integer/,
      /public\.other\.span: rows exclude each other by it/,
      /public\.other\.code: public\.other_code_idx wants no two that are the same, and city would make some/,
      /public\.logs_a\.at decides on the partition of a row/,
      /the foreign key orders_buyer_fkey leads from public\.orders\.buyer \(hash\) to public\.people\.email \(null\)/,
    ),
  );

  await t.test('is applied to rows as they come, NULL and lists and all that has to be quoted', async () => {
    const rules = readMaskRules({
      tables: {
        people: {
          ...{
            email: 'email',
            'Who "A': 'name',
            phone: 'phone',
            born: { shift: 30, by: 'id' },
            mails: 'email',
          },
          ...{
            info: 'scramble',
            ip: 'hash',
            card: 'hash',
            account: 'null',
            kind: { constant: 'b' },
            short: 'scramble',
          },
        },
        orders: { buyer: 'email' },
        logs: { client_address: 'address' },
        parent: { nick: { constant: 'x\t\\N\ny' } },
        '*': { text: 'scramble' },
      },
      keep: ['people.odd', 'free.remarks'],
    });
    const target = await openSource({ ...address.server, database: 'copy' }, address.password);
    const signal = AbortSignal.timeout(60_000);
    await within(async source => {
      const mask = await openMask(source, rules, { secret: SECRET, rowless: false });
      const pairs = [{ source: source.session, target }];
      const { tables, conditionOf } = source.choice;
      await copyTables(
        tables,
        pairs,
        conditionOf,
        mask,
        createProgress(() => {}),
        signal,
      );
      await verify(tables, pairs, conditionOf, mask, signal);
    });
    await target.close();
    const both = (sql: string) => Promise.all([server.sql('postgres', sql), server.sql('copy', sql)]);
    const [before, after] = await both('SELECT * FROM people ORDER BY id');
    assert.equal(after.length, before.length);
    const all = JSON.stringify(after);
    for (const marker of ['Anna', 'anna', '4000', '192.0.2', 'DE89'])
      assert.ok(!all.includes(marker), marker);
    for (const [i, row] of after.entries()) {
      const was = before[i]!;
      for (const name of ['id', 'odd', 'boss'] as const) assert.deepEqual(row[name], was[name]);
      for (const [name, value] of Object.entries(row))
        assert.equal(value === null, was[name] === null || name === 'account', name);
      assert.equal(row.lower_email, String(row.email).toLowerCase());
      assert.ok(row.born === null || String(row.born) !== String(was.born));
    }
    const [first] = after as [Record<string, unknown>];
    assert.match(String(first.mails), /^\{[a-z.2-7]+@example\.com,NULL,[a-z.2-7]+@example\.com\}$/);
    assert.equal(first.kind, 'b');
    const [, joined] = await both(
      'SELECT count(*)::int AS n, count(p.id)::int AS p FROM orders o LEFT JOIN people p ON p.email = o.buyer',
    );
    assert.deepEqual(joined, [{ n: 40, p: 40 }]);
    const [lines, linesAfter] = await both('SELECT tableoid::regclass::text, id FROM logs ORDER BY id');
    assert.deepEqual(linesAfter, lines);
    const [, addresses] = await both(
      "SELECT count(*)::int AS n FROM logs WHERE client_address LIKE '%marker%'",
    );
    assert.deepEqual(addresses, [{ n: 0 }]);
    const [, nicks] = await both('SELECT DISTINCT nick FROM parent');
    assert.deepEqual(nicks, [{ nick: 'x\t\\N\ny' }]);
  });

  await t.test('tells nobody what a source says of its rows', async () => {
    const rules = readMaskRules({ tables: {}, keep: ['*.*'] });
    const options = { tables: ['notes'], where: { notes: 'text::int > 3' } };
    const target = await openSource({ ...address.server, database: 'copy' }, address.password);
    await within(async source => {
      const mask = await openMask(source, rules, { secret: SECRET, rowless: false });
      const pairs = [{ source: source.session, target }];
      const { tables, conditionOf } = source.choice;
      const signal = AbortSignal.timeout(60_000);
      await assert.rejects(
        copyTables(
          tables,
          pairs,
          conditionOf,
          mask,
          createProgress(() => {}),
          signal,
        ),
        /^Error: table public\.notes: the source ended it with SQLSTATE 22P02; its own log says more$/,
      );
    }, options);
    await target.close();
  });

  await t.test('that cannot be applied to a value ends it, without the value', async () => {
    const mask = {
      of: () => ({
        first: [{ name: 'notes.text', mask: (value: string) => assert.fail(value) }],
        ...{ columns: ['text', 'id'], same: ['id'] },
      }),
      ...{ keepsLargeObjects: false, columns: 1, tables: 1 },
    };
    const target = await openSource({ ...address.server, database: 'copy' }, address.password);
    await within(
      async source => {
        const pairs = [{ source: source.session, target }];
        const { tables, conditionOf } = source.choice;
        const signal = AbortSignal.timeout(60_000);
        await assert.rejects(
          copyTables(
            tables,
            pairs,
            conditionOf,
            mask,
            createProgress(() => {}),
            signal,
          ),
          (error: Error & { code: string }) => {
            assert.equal(error.code, 'mask/no-value');
            assert.doesNotMatch(error.message, /nothing|anna/);
            return true;
          },
        );
      },
      { tables: ['notes'] },
    );
    await target.close();
  });
});

// --- internal -----------------------------------------------------------------------------------

const SECRET = Buffer.alloc(32, 1).toString('base64');

const TABLES = `
  CREATE TYPE kind AS ENUM ('a', 'b');
  CREATE DOMAIN mail AS text CHECK (VALUE LIKE '%@%');
  CREATE EXTENSION btree_gist;
  CREATE TABLE people (
    id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, email mail NOT NULL UNIQUE, "Who ""A" text, phone varchar(20), born date, mails mail[],
    info jsonb, ip inet, card text, account text, kind kind, short varchar(5), odd text, boss int, lower_email text GENERATED ALWAYS AS (lower(email::text)) STORED);
  CREATE TABLE orders (id int PRIMARY KEY, buyer mail REFERENCES people (email), total numeric);
  CREATE TABLE logs (id int, at date, client_address text) PARTITION BY RANGE (at);
  CREATE TABLE logs_a PARTITION OF logs FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
  CREATE TABLE logs_b (client_address text, at date, id int);
  ALTER TABLE logs ATTACH PARTITION logs_b DEFAULT;
  CREATE TABLE notes (id int, text text);
  CREATE TABLE other (span int4range, code text, plain text, EXCLUDE USING gist (span WITH &&));
  CREATE UNIQUE INDEX ON other (upper(code));
  ALTER INDEX other_upper_idx RENAME TO other_code_idx;
  CREATE TABLE parent (id int, nick text);
  CREATE TABLE free (remarks text);
  CREATE TABLE child (more text) INHERITS (parent);`;

const ROWS = `
  INSERT INTO people (email, "Who ""A", phone, born, mails, info, ip, card, account, kind, short, odd, boss)
    SELECT 'anna' || i || '@firm.org', (ARRAY['Anna', 'Paul', 'Maria'])[1 + i % 3] || ' Lindqvist', '+49 30 901820 ' || i, date '1980-05-20' + i, ARRAY['a' || i || '@firm.org', NULL, E'q"\\\\{}@firm.org'],
      jsonb_build_object('name', E'Anna\\t"x"\\n', 'mail', 'anna' || i || '@firm.org', 'n', i, 'none', NULL), '192.0.2.1', '4000056655665556', 'DE89370400440532013000', 'a', 'abcde',
      E'tab\\tline\\nback\\\\slash \\\\N ü', i FROM generate_series(1, 40) i;
  INSERT INTO people (email) VALUES ('anna@firm.org');
  INSERT INTO orders SELECT i, 'anna' || i || '@firm.org', i FROM generate_series(1, 40) i;
  INSERT INTO logs SELECT i, date '2024-06-01' + 20 * i, 'marker street ' || i FROM generate_series(1, 40) i;
  INSERT INTO notes SELECT i, CASE WHEN i = 30 THEN 'write to anna@firm.org, please' ELSE 'nothing' END FROM generate_series(1, 40) i;
  INSERT INTO other SELECT int4range(i, i + 1), 'code' || i, 'plain' FROM generate_series(1, 40) i;
  INSERT INTO parent VALUES (1, 'one'); INSERT INTO child VALUES (2, 'two', 'more');`;
