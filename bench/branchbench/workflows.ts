/**
 * The five workflows of BranchBench (arXiv 2604.17180, table 1): how many workers do how many steps, what tree of branches they make,
 * and what a step does. The numbers are those of the table; the statements are ours, of the kind and number that it names.
 */
import type { Chance } from '../../test/support/random.ts';
import { sizes } from './schema.ts';

export type Workflow = {
  readonly workers: number;
  /** Of each worker. */
  readonly steps: number;
  /** Living children that a branch may have; where no branch has room, the root takes one more. */
  readonly fanOut: { readonly root: number; readonly inner: number };
  /** The root's is 0. */
  readonly depth: number;
  /** How often a step's branch is deleted after it, of 100. */
  readonly prune: number;
  /** @param id of the step, fit for a name */
  mutate(id: string, dice: Chance): readonly string[];
  evaluate(id: string): readonly string[];
  /** Asked of each branch that is left without children, at the end. */
  readonly compare: readonly string[];
};

export const workflows: Readonly<Record<string, Workflow>> = {
  /** A migration and its backfill. */
  software_dev: {
    workers: 5,
    steps: 20,
    fanOut: { root: 5, inner: 3 },
    depth: 4,
    prune: 10,
    mutate: id => [
      `ALTER TABLE customer ADD COLUMN tier_${id} text`,
      `UPDATE customer SET tier_${id} = CASE WHEN c_ytd_payment > 9000 THEN 'gold' WHEN c_ytd_payment > 5000 THEN 'silver' ELSE 'bronze' END`,
    ],
    evaluate: id => [
      `SELECT count(*) FROM customer WHERE tier_${id} IS NULL`,
      `SELECT tier_${id}, count(*), avg(c_credit_lim) FROM customer GROUP BY 1`,
    ],
    compare: ['SELECT c_credit, count(*), avg(c_credit_lim) FROM customer GROUP BY 1'],
  },
  /** What was recorded, played once more, and an invariant. */
  failure_repro: {
    workers: 1,
    steps: 10,
    fanOut: { root: 10, inner: 0 },
    depth: 1,
    prune: 100,
    mutate: (id, dice) => {
      const at = `${oneOf(sizes.warehouses, dice)}, ${oneOf(sizes.districts, dice)}, ${orderOf(dice)}`;
      return [
        `ALTER TABLE order_line ADD COLUMN discount_${id} numeric(5,2)`,
        `ALTER TABLE orders ADD COLUMN flag_${id} boolean DEFAULT false`,
        `ALTER TABLE customer ADD COLUMN note_${id} text`,
        `ALTER TABLE stock ADD COLUMN tag_${id} text`,
        `CREATE INDEX by_item_${id} ON order_line (ol_i_id)`,
        `INSERT INTO orders VALUES (${at}, 42, now(), NULL, 43)`,
        `UPDATE customer SET c_balance = c_balance - 72.50 WHERE c_w_id = 1 AND c_d_id = 1 AND c_id = 42`,
        ...Array.from(
          { length: 43 },
          (_, line) =>
            `INSERT INTO order_line VALUES (${at}, ${line + 1}, ${oneOf(sizes.items, dice)}, 1, NULL, 5, ${oneOf(100, dice)}, 'again')`,
        ),
      ];
    },
    evaluate: () => [
      `SELECT o_w_id, o_d_id, o_id FROM orders JOIN order_line ON (ol_w_id, ol_d_id, ol_o_id) = (o_w_id, o_d_id, o_id)
       GROUP BY 1, 2, 3, o_ol_cnt HAVING o_ol_cnt <> count(*)`,
    ],
    compare: [],
  },
  /** Two ways to treat what is missing. */
  data_cleaning: {
    workers: 10,
    steps: 20,
    fanOut: { root: 10, inner: 3 },
    depth: 3,
    prune: 0,
    mutate: (id, dice) => [
      `ALTER TABLE customer ADD COLUMN cleaned_${id} boolean DEFAULT false`,
      dice.often(50)
        ? 'UPDATE customer SET c_balance = 0 WHERE c_balance IS NULL'
        : 'DELETE FROM customer WHERE c_balance IS NULL',
    ],
    evaluate: () => ['SELECT count(*) FROM customer WHERE c_balance < 0'],
    compare: [
      'SELECT count(*) FROM customer WHERE c_balance IS NULL',
      'SELECT max(c_ytd_payment) - min(c_ytd_payment) FROM customer',
    ],
  },
  /** A search that goes deep. */
  mcts: {
    workers: 10,
    steps: 100,
    fanOut: { root: 10, inner: 10 },
    depth: 25,
    prune: 10,
    mutate: (_, dice) => [takeFromStock(dice)],
    evaluate: () => [revenue],
    compare: [],
  },
  /** Trials of chance, all from the same state, all at once. */
  simulation: {
    workers: 1000,
    steps: 1,
    fanOut: { root: 1000, inner: 0 },
    depth: 1,
    prune: 100,
    mutate: (_, dice) =>
      Array.from({ length: 25 }, () => [
        takeFromStock(dice),
        `INSERT INTO orders VALUES (${oneOf(sizes.warehouses, dice)}, ${oneOf(sizes.districts, dice)}, ${orderOf(dice)}, 42, now(), NULL, 5)
         ON CONFLICT DO NOTHING`,
      ]).flat(),
    evaluate: () => ['SELECT count(*) FILTER (WHERE s_quantity < 10), sum(s_ytd) FROM stock'],
    compare: ['SELECT count(*) FROM orders'],
  },
};

// --- internal -----------------------------------------------------------------------------------

const oneOf = (most: number, dice: Chance) => 1 + dice.below(most);

/** Beyond those that are there. */
const orderOf = (dice: Chance) => 100_000 + oneOf(1_000_000, dice);

const revenue = 'SELECT sum(ol_amount) FROM order_line JOIN warehouse ON ol_supply_w_id = w_id';

function takeFromStock(dice: Chance): string {
  const amount = oneOf(10, dice);
  return `UPDATE stock SET s_quantity = s_quantity - ${amount}, s_ytd = s_ytd + ${amount}
    WHERE s_w_id = ${oneOf(sizes.warehouses, dice)} AND s_i_id = ${oneOf(sizes.items, dice)}`;
}
