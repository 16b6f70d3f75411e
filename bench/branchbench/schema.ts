/** The tables that BranchBench asks, of CH-benCHmark, and their rows: TPC-C's, with a tenth of its customers and a hundredth of its items. */
import type pg from 'pg';

/** 10 warehouses of 10 districts, 1,000 items, 100 customers and 100 orders of ten lines a district: some 40 MB. */
export const sizes = { warehouses: 10, districts: 10, items: 1000, customers: 100, orders: 100, lines: 10 };

/** Names and types as TPC-C 5.11 gives them in 1.3, without the columns of addresses that no query reads. */
const tables = `
CREATE TABLE warehouse (w_id int PRIMARY KEY, w_name text, w_tax numeric(4,4), w_ytd numeric(12,2));
CREATE TABLE district (d_w_id int, d_id int, d_name text, d_tax numeric(4,4), d_ytd numeric(12,2), d_next_o_id int, PRIMARY KEY (d_w_id, d_id));
CREATE TABLE customer (c_w_id int, c_d_id int, c_id int, c_last text, c_credit char(2), c_credit_lim numeric(12,2), c_balance numeric(12,2),
  c_ytd_payment numeric(12,2), c_data text, PRIMARY KEY (c_w_id, c_d_id, c_id));
CREATE TABLE item (i_id int PRIMARY KEY, i_name text, i_price numeric(5,2), i_data text);
CREATE TABLE stock (s_w_id int, s_i_id int, s_quantity int, s_ytd int, s_order_cnt int, s_data text, PRIMARY KEY (s_w_id, s_i_id));
CREATE TABLE orders (o_w_id int, o_d_id int, o_id int, o_c_id int, o_entry_d timestamptz, o_carrier_id int, o_ol_cnt int, PRIMARY KEY (o_w_id, o_d_id, o_id));
CREATE TABLE new_order (no_w_id int, no_d_id int, no_o_id int, PRIMARY KEY (no_w_id, no_d_id, no_o_id));
CREATE TABLE order_line (ol_w_id int, ol_d_id int, ol_o_id int, ol_number int, ol_i_id int, ol_supply_w_id int, ol_delivery_d timestamptz, ol_quantity int,
  ol_amount numeric(6,2), ol_dist_info text, PRIMARY KEY (ol_w_id, ol_d_id, ol_o_id, ol_number));
CREATE TABLE trail (at serial PRIMARY KEY, step text NOT NULL);
`;

const of = (name: string, count: number) => `generate_series(1, ${count}) ${name}`;
const { warehouses, districts, items, customers, orders, lines } = sizes;
const everywhere = `${of('w', warehouses)}, ${of('d', districts)}`;

/** Every tenth balance is missing: data_cleaning has something to clean. */
const rows = `
INSERT INTO warehouse SELECT w, 'warehouse ' || w, 0.1, 300000 FROM ${of('w', warehouses)};
INSERT INTO district SELECT w, d, 'district ' || d, 0.1, 30000, ${orders} + 1 FROM ${everywhere};
INSERT INTO customer SELECT w, d, c, 'customer ' || c, 'GC', 50000, CASE WHEN c % 10 = 0 THEN NULL ELSE c - 50 END, c * 100, repeat(md5(c::text), 8)
  FROM ${everywhere}, ${of('c', customers)};
INSERT INTO item SELECT i, 'item ' || i, (i % 100) + 1, md5(i::text) FROM ${of('i', items)};
INSERT INTO stock SELECT w, i, 50 + i % 50, 0, 0, md5(i::text) FROM ${of('w', warehouses)}, ${of('i', items)};
INSERT INTO orders SELECT w, d, o, o, now(), CASE WHEN o < 70 THEN o % 10 END, ${lines} FROM ${everywhere}, ${of('o', orders)};
INSERT INTO new_order SELECT w, d, o FROM ${everywhere}, generate_series(70, ${orders}) o;
INSERT INTO order_line SELECT w, d, o, l, (o * l) % ${items} + 1, w, NULL, 5, (o + l) % 900, 'info' FROM ${everywhere}, ${of('o', orders)}, ${of('l', lines)};
`;

/** Into an empty database. */
export async function load(session: pg.Client): Promise<void> {
  await session.query(tables);
  await session.query(`BEGIN; ${rows} COMMIT;`);
  await session.query('VACUUM ANALYZE');
}
