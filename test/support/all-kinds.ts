/** A database with every kind of object that PostgreSQL knows, as SQL: what goes in or out of a branch is tried with it. */

export type AllKindsOptions = {
  /** Of the server that it is made on. */
  readonly major: number;
  /** Ordinary tables beside those that show a kind. Default 3. */
  readonly tables?: number;
  /** Rows of each of them. Default 50. */
  readonly rows?: number;
  /** Roles belong to the server, so two databases on one server need different ones. Default `shop`. */
  readonly prefix?: string;
};

/** Statements for a superuser, in a new database. It makes roles, too. */
export function allKinds({ major, tables = 3, rows = 50, prefix = 'shop' }: AllKindsOptions): string {
  const [owner, reader, staff] = [`${prefix}_owner`, `${prefix}_reader`, `${prefix} staff`];
  return `
SET check_function_bodies = off;
CREATE ROLE ${owner} LOGIN CREATEDB PASSWORD 'of-the-source';
CREATE ROLE ${reader} LOGIN NOINHERIT CONNECTION LIMIT 7;
CREATE ROLE "${staff}" NOLOGIN;
COMMENT ON ROLE ${reader} IS 'reads, and nothing else';
GRANT "${staff}" TO ${reader} WITH ADMIN OPTION;
GRANT pg_read_all_settings TO ${reader};
ALTER ROLE ${reader} SET work_mem = '5MB';

CREATE SCHEMA app AUTHORIZATION ${owner};
CREATE SCHEMA "Odd ""Names""";
GRANT USAGE ON SCHEMA app TO ${reader};
COMMENT ON SCHEMA app IS 'all of it';
CREATE EXTENSION pgcrypto SCHEMA app;
CREATE EXTENSION hstore;
CREATE EXTENSION pg_trgm;

CREATE COLLATION app.german (provider = libc, locale = 'C');
CREATE TYPE app.mood AS ENUM ('sad', 'it''s ok', 'happy');
ALTER TYPE app.mood ADD VALUE 'so-so' BEFORE 'happy';
COMMIT;
CREATE TYPE app.point3 AS (x int, y int, label text COLLATE app.german);
CREATE DOMAIN app.email AS text NOT NULL DEFAULT 'nobody@example.com' CONSTRAINT has_at CHECK (VALUE LIKE '%@%');
CREATE TYPE app.span AS RANGE (subtype = float8, subtype_diff = float8mi);
COMMENT ON TYPE app.mood IS 'how one feels';

CREATE FUNCTION app.twice(i int) RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE AS 'SELECT 2 * i';
CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = app, pg_temp AS $body$
BEGIN
  NEW.changed := now();
  RETURN NEW;
END $body$;
CREATE FUNCTION app.uses_later() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM app.orders';
CREATE PROCEDURE app.noop(INOUT a int) LANGUAGE plpgsql AS 'BEGIN END';
CREATE AGGREGATE app.total(numeric) (SFUNC = numeric_add, STYPE = numeric, INITCOND = '0', PARALLEL = safe);
CREATE FUNCTION app.close_to(a app.point3, b app.point3) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT abs((a).x - (b).x) < 10';
CREATE OPERATOR app.=~= (FUNCTION = app.close_to, LEFTARG = app.point3, RIGHTARG = app.point3, COMMUTATOR = OPERATOR(app.=~=));
CREATE FUNCTION app.mood_number(app.mood) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT length($1::text) $$;
CREATE CAST (app.mood AS int) WITH FUNCTION app.mood_number(app.mood) AS ASSIGNMENT;
GRANT EXECUTE ON FUNCTION app.twice(int) TO ${reader}, ${owner};
REVOKE EXECUTE ON FUNCTION app.twice(int) FROM PUBLIC;
COMMENT ON FUNCTION app.twice(int) IS 'two times';
${major >= 14 ? `CREATE FUNCTION app.atomic(i int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT app.twice(i) + 1; END;` : ''}

CREATE TEXT SEARCH DICTIONARY app.plain (TEMPLATE = pg_catalog.simple, STOPWORDS = english);
CREATE TEXT SEARCH CONFIGURATION app.search (COPY = pg_catalog.simple);
ALTER TEXT SEARCH CONFIGURATION app.search ALTER MAPPING FOR asciiword WITH app.plain;

CREATE SEQUENCE app.tickets AS int START 1000 INCREMENT 5 MAXVALUE 100000 CACHE 3 CYCLE;
SELECT nextval('app.tickets'), nextval('app.tickets');

CREATE TABLE app.customers (
  id bigint GENERATED ALWAYS AS IDENTITY (START WITH 100),
  email app.email,
  mood app.mood DEFAULT 'happy',
  full_name text COLLATE app.german,
  lower_name text GENERATED ALWAYS AS (lower(full_name)) STORED,
  at3 app.point3,
  attributes hstore,
  tags text[] DEFAULT '{}',
  big text,
  changed timestamptz,
  CONSTRAINT customers_pk PRIMARY KEY (id),
  CONSTRAINT customers_email UNIQUE (email) DEFERRABLE INITIALLY DEFERRED,
  CONSTRAINT customers_name CHECK (length(full_name) < 100)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.3);
ALTER TABLE app.customers ALTER big SET STORAGE EXTERNAL, ALTER full_name SET STATISTICS 500, ALTER tags SET (n_distinct = 5);
ALTER TABLE app.customers OWNER TO ${owner};
COMMENT ON COLUMN app.customers.email IS 'where to write';
INSERT INTO app.customers (email, mood, full_name, at3, attributes, tags, big)
  SELECT 'c' || i || '@example.com', (ARRAY['sad', 'it''s ok', 'happy', 'so-so'])[1 + i % 4]::app.mood, E'Nr. \\\\ ' || i || E' \\t "q"', format('(%s,%s,p)', i, -i)::app.point3, hstore('k', i::text),
    ARRAY['a,b', NULL, i::text], CASE WHEN i % 10 = 0 THEN repeat('x' || i, 3000) END FROM generate_series(1, ${rows}) i;

CREATE TABLE app.orders (id serial PRIMARY KEY, customer bigint, amount numeric(12, 2) DEFAULT 1.5 NOT NULL, ticket int DEFAULT nextval('app.tickets'), note app.email, parent int REFERENCES app.orders);
ALTER TABLE app.orders OWNER TO ${owner};
ALTER TABLE app.orders ADD CONSTRAINT orders_customer FOREIGN KEY (customer) REFERENCES app.customers ON DELETE CASCADE;
INSERT INTO app.orders (customer, amount, parent) SELECT 100 + i % ${rows}, i / 3.0, CASE WHEN i > 1 THEN i - 1 END FROM generate_series(1, ${2 * rows}) i;
INSERT INTO app.orders (customer, amount) VALUES (NULL, -1);
ALTER TABLE app.orders ADD CONSTRAINT positive CHECK (amount > 0) NOT VALID;
CREATE INDEX orders_amount ON app.orders (amount DESC NULLS LAST) INCLUDE (customer) WHERE amount > 1;
CREATE INDEX orders_twice ON app.orders (app.twice(id));
CREATE INDEX customers_trgm ON app.customers USING gin (full_name gin_trgm_ops);
COMMENT ON INDEX app.orders_amount IS 'by amount';
COMMENT ON CONSTRAINT positive ON app.orders IS 'since lately';
CREATE STATISTICS app.orders_stats (dependencies) ON customer, amount FROM app.orders;
CREATE TRIGGER touched BEFORE UPDATE ON app.customers FOR EACH ROW WHEN (OLD.email IS DISTINCT FROM NEW.email) EXECUTE FUNCTION app.touch();
CREATE TRIGGER asleep BEFORE INSERT ON app.customers FOR EACH ROW EXECUTE FUNCTION app.touch();
ALTER TABLE app.customers DISABLE TRIGGER asleep;
CREATE RULE no_delete AS ON DELETE TO app.orders WHERE OLD.amount > 1000 DO INSTEAD NOTHING;
ALTER TABLE app.orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON app.orders FOR SELECT TO ${reader} USING (customer = 101);
GRANT SELECT ON app.orders TO ${reader} WITH GRANT OPTION;
GRANT SELECT (id, email), UPDATE (email) ON app.customers TO ${reader};
GRANT USAGE ON SEQUENCE app.tickets TO PUBLIC;

CREATE TABLE app.events (at date NOT NULL, id bigint NOT NULL, what jsonb, PRIMARY KEY (at, id)) PARTITION BY RANGE (at);
CREATE TABLE app.events_2024 PARTITION OF app.events FOR VALUES FROM ('2024-01-01') TO ('2025-01-01') PARTITION BY HASH (id);
CREATE TABLE app.events_2024_0 PARTITION OF app.events_2024 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE app.events_2024_1 (what jsonb, id bigint NOT NULL, at date NOT NULL);
ALTER TABLE app.events_2024 ATTACH PARTITION app.events_2024_1 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE app.events_rest PARTITION OF app.events DEFAULT;
CREATE INDEX events_what ON app.events USING gin (what);
INSERT INTO app.events SELECT date '2024-06-01' + (i % 400), i, jsonb_build_object('n', i, 's', 'ü') FROM generate_series(1, ${rows}) i;

CREATE TABLE app.base (id int PRIMARY KEY, name text DEFAULT 'base', CONSTRAINT named CHECK (name <> ''));
CREATE TABLE app.child (extra int) INHERITS (app.base);
INSERT INTO app.base VALUES (1, 'one');
INSERT INTO app.child VALUES (2, 'two', 22);
CREATE UNLOGGED TABLE app.scratch (i int);
INSERT INTO app.scratch VALUES (1), (2);
CREATE TABLE app.typed OF app.point3;
CREATE TABLE app.nothing ();
CREATE TABLE "Odd ""Names"""."Select" ("from" int, "a""b" text);
INSERT INTO "Odd ""Names"""."Select" VALUES (1, E'line\\nbreak'), (NULL, '\\N');

CREATE TABLE app.every_type (
  a smallint, b int, c bigint, d numeric, e real, f double precision, g money, h text, i varchar(10), j char(5), k bytea, l timestamp, m timestamptz, n date, o time, p timetz,
  q interval, r boolean, s point, t line, u lseg, v box, w path, x polygon, y circle, z cidr, aa inet, ab macaddr, ac macaddr8, ad bit(3), ae bit varying(5), af tsvector, ag tsquery,
  ah uuid, ai xml, aj json, ak jsonb, al int[], am int4range, an numrange, ao tstzrange, ap pg_lsn, aq jsonpath, ar regclass, at oid, au "char", av name, aw app.span, ax app.mood[], ay int[][]${major >= 14 ? ', az int4multirange, ba app.email[]' : ''});
INSERT INTO app.every_type VALUES (
  -32768, 2147483647, -9223372036854775808, 'NaN', '-Infinity', 0.1::float8 + 0.2, 12.34, E'tab\\tü\\\\', 'v', 'c', '\\x00ff5c', '2024-02-29 12:34:56.789', 'infinity', '4713-01-01 BC', '24:00', '12:00+02',
  '1 year 2 mons -3 days 04:05:06.7', true, '(1,2)', '{1,2,3}', '[(0,0),(1,1)]', '(1,1),(0,0)', '((0,0),(1,1))', '((0,0),(1,1),(1,0))', '<(0,0),5>', '10.0.0.0/8', '::1', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', B'101', B'1', 'a:1 b:2', 'a & !b',
  'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '<a>1</a>', '{"a": 1 }', '{"b": [1, null]}', '{1,NULL,3}', '[1,5)', '(,1.5]', '[2024-01-01,)', '16/B374D848', '$.a[*]', 'pg_class', 42, 'x', 'name', '[1,2)', '{sad,happy}', '{{1,2},{3,4}}'${major >= 14 ? `, '{[1,2), [5,9)}', '{a@b,c@d}'` : ''});
INSERT INTO app.every_type (d) VALUES (NULL), (1e100);

CREATE VIEW app.order_list WITH (security_barrier = true) AS SELECT o.*, c.full_name FROM app.orders o JOIN app.customers c ON c.id = o.customer;
CREATE VIEW app.by_key AS SELECT id, email, full_name FROM app.customers GROUP BY id;
CREATE VIEW app.checked AS SELECT id, amount FROM app.orders WHERE amount > 5 WITH LOCAL CHECK OPTION;
CREATE MATERIALIZED VIEW app.sums AS SELECT customer, sum(amount) AS sum, app.total(amount) AS total FROM app.order_list GROUP BY customer;
CREATE UNIQUE INDEX sums_customer ON app.sums (customer);
CREATE MATERIALIZED VIEW app.empty AS SELECT 1 AS one WITH NO DATA;
COMMENT ON VIEW app.order_list IS 'joined';

CREATE PUBLICATION inserts FOR TABLE app.orders WITH (publish = 'insert');
CREATE PUBLICATION everything FOR ALL TABLES;
ALTER DEFAULT PRIVILEGES FOR ROLE ${owner} IN SCHEMA app GRANT SELECT ON TABLES TO ${reader};
SELECT lo_from_bytea(4242, convert_to(repeat('large ', 100000), 'UTF8')), lo_from_bytea(4243, '');
COMMENT ON LARGE OBJECT 4242 IS 'a picture';
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET app.mode = %L', current_database(), 'staging'); END $$;
${Array.from({ length: tables }, (_, i) => tableText(i, rows)).join('\n')}
`;
}

// --- internal -----------------------------------------------------------------------------------

const tableText = (i: number, rows: number): string => `
CREATE TABLE app.t${i} (id int PRIMARY KEY, ${i > 0 ? `t${i - 1} int REFERENCES app.t${i - 1},` : ''} body text, at timestamptz DEFAULT now(), n numeric);
INSERT INTO app.t${i} SELECT g, ${i > 0 ? 'g,' : ''} 'row ' || g || repeat(' filler', g % 20), timestamptz '2024-01-01' + g * interval '1 minute', g / 7.0 FROM generate_series(1, ${rows}) g;
CREATE INDEX ON app.t${i} (at);`;
