import { z } from 'zod';
import { transaction, type Tx } from '../../base/db/db.ts';
import { loadStatements, query } from '../../base/db/sql.ts';
import { job, minutes } from '../../queue/job.ts';
import { accountFields, checkPeriod, findAccounts, period } from './account/accounts.ts';

const sql = loadStatements(import.meta.dirname, 'anomalies.sql', ['load_series', 'write_anomalies']);

/** So many accounts are one transaction. */
const chunk = 100;

const payload = z
  .strictObject({
    ...accountFields,
    ...period,
    /** How many of the last final days are judged again. */
    days: z.int().min(1).max(400).default(7),
  })
  .superRefine(checkPeriod);

type Payload = z.output<typeof payload>;
/** One metric of one account, day by day. */
type Series = {
  account_id: number;
  metric: string;
  first_day: string;
  /** The first day that is judged. */
  from_day: string;
  until_day: string;
  /** The index of that day in `values`. */
  judged: number;
  values: (number | null)[];
  /** The index of the last day before it that stood out. */
  told: number | null;
};

/**
 * Writes down the days of accounts that stand out. Only final days are judged, since platforms correct the others. A
 * repeat writes the same rows.
 */
export default job({
  name: 'analytics.anomalies',
  payload,
  timeout: minutes(30),

  async run({ payload: given, app, signal, progress }) {
    const ids = await findAccounts(app.db, given);
    const sum = { series: 0, judged: 0, anomalies: 0 };
    for (let done = 0; done < ids.length; done += chunk) {
      signal.throwIfAborted();
      const found = await transaction(app.db, (tx) => detect(tx, ids.slice(done, done + chunk), given));
      for (const name of ['series', 'judged', 'anomalies'] as const) sum[name] += found[name];
      progress(Math.floor(((done + chunk) / ids.length) * 100));
    }
    return { accounts: ids.length, ...sum };
  },
});

async function detect(tx: Tx, ids: number[], { from, until, days }: Payload) {
  // With its library of statistics, which a producer of jobs has no use for.
  const { quietDays, standingOut, windowDays } = await import('./anomaly/robust.ts');
  const series = await query<Series>(tx, sql.load_series, {
    ids,
    from: from ?? null,
    until: until ?? null,
    days,
    window_days: windowDays,
    quiet_days: quietDays,
  });
  const found = series.flatMap(({ account_id, metric, first_day, values, judged, told }) =>
    [...standingOut(values, judged, told ?? undefined)].map(([index, verdict]) => ({
      account_id,
      metric,
      day: dayAfter(first_day, index),
      value: values[index],
      ...verdict,
    })),
  );
  const scopes = series.map(({ account_id, metric, from_day, until_day }) => ({
    account_id,
    metric,
    from_day,
    until_day,
  }));
  await query(tx, sql.write_anomalies, { scopes: JSON.stringify(scopes), found: JSON.stringify(found) });
  const judged = series.reduce((sum, each) => sum + each.values.length - each.judged, 0);
  return { series: series.length, judged, anomalies: found.length };
}

const dayAfter = (day: string, days: number) =>
  new Date(Date.parse(day) + days * 86_400_000).toISOString().slice(0, 10);
