import { z } from 'zod';
import { transaction, type Db, type Tx } from '../../base/db/db.ts';
import { loadStatements, query } from '../../base/db/sql.ts';
import { job, minutes } from '../../queue/job.ts';
import { accountFields, checkPeriod, findAccounts, period } from './account/accounts.ts';

const sql = loadStatements(import.meta.dirname, 'aggregate.sql', [
  'make_partitions',
  'take_memory',
  'find_scopes',
  'aggregate_days',
  'aggregate_accounts',
  'aggregate_weeks',
  'settle_stale',
]);

/** So many accounts are one transaction: up to some hundred thousand points. */
const chunk = 4;
/** So many transactions at a time: each keeps a core of Postgres busy. */
const lanes = 2;

const payload = z
  .strictObject({
    ...accountFields,
    ...period,
    /** How many days before yesterday are computed again, with yesterday: platforms correct them. */
    days: z.int().min(1).max(400).default(3),
  })
  .superRefine(checkPeriod);

type Payload = z.output<typeof payload>;
type Scope = { account_id: number; first_day: string; last_day: string; stale_from: string | null };

/**
 * Makes days and weeks of the points of accounts. Sums are SQL. A repeat computes the same rows, and writes those that
 * differ.
 */
export default job({
  name: 'analytics.aggregate',
  payload,
  timeout: minutes(60),

  async run({ payload: given, app, signal, progress }) {
    const ids = await findAccounts(app.db, given);
    await query(app.db, sql.make_partitions);
    let days = 0;
    let done = 0;
    const rest = Array.from({ length: Math.ceil(ids.length / chunk) }, (_, n) => ids.slice(n * chunk, (n + 1) * chunk));
    const work = async () => {
      for (let next = rest.shift(); next; next = rest.shift()) {
        signal.throwIfAborted();
        const written = await aggregate(app.db, next, given);
        days += written;
        done += next.length;
        progress(Math.floor((done / ids.length) * 100));
      }
    };
    // What fails ends the other lane, too, before the job ends.
    const ended = await Promise.allSettled(
      Array.from({ length: lanes }, () => work().finally(() => (rest.length = 0))),
    );
    for (const lane of ended) if (lane.status === 'rejected') throw lane.reason;
    return { accounts: ids.length, days };
  },
});

/** @returns how many rows of metric_daily were written */
async function aggregate(db: Db, ids: number[], { from, until, days }: Payload): Promise<number> {
  return transaction(db, async (tx) => {
    await query(tx, sql.take_memory);
    const scopes = await query<Scope>(tx, sql.find_scopes, { ids, from: from ?? null, until: until ?? null, days });
    const written = await aggregateScopes(tx, scopes);
    if (until === undefined) await query(tx, sql.settle_stale, { scopes: JSON.stringify(scopes) });
    return written;
  });
}

async function aggregateScopes(tx: Tx, scopes: Scope[]): Promise<number> {
  const given = { scopes: JSON.stringify(scopes) };
  const [posts] = await query<{ rows: number }>(tx, sql.aggregate_days, given);
  const [accounts] = await query<{ rows: number }>(tx, sql.aggregate_accounts, given);
  await query(tx, sql.aggregate_weeks, given);
  return posts!.rows + accounts!.rows;
}
