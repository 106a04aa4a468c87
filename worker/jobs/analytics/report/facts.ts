import { loadStatements, query, type Queryable, type Statement } from '../../../base/db/sql.ts';

/** The figures of a report, each with the SQL that it comes from, ready to be run again. */

const sql = loadStatements(import.meta.dirname, 'facts.sql', [
  'totals',
  'days',
  'rates',
  'posts',
  'times',
  'anomalies',
  'published',
]);

export type Period = { accounts: number[]; first: string; last: string };

type Total = {
  metric: string;
  value: number | null;
  before: number | null;
  /** How many days are known, over all accounts. */
  days: number;
  days_before: number;
};
export type Day = {
  day: string;
  is_now: boolean;
  views: number | null;
  engagements: number | null;
  followers: number | null;
};
export type Rate = {
  account_id: number;
  platform: string;
  name: string;
  views: number | null;
  engagements: number | null;
  rate: number | null;
  formula: string | null;
  views_before: number | null;
  engagements_before: number | null;
  rate_before: number | null;
};
type Post = {
  post_id: number;
  platform: string;
  title: string;
  url: string | null;
  published: string | null;
  views: number;
  engagements: number | null;
  rate: number | null;
};
export type Time = { by_what: 'weekday' | 'hour' | 'all'; part: number; n: number; median_rate: number };
export type Anomaly = {
  day: string;
  platform: string;
  name: string;
  metric: string;
  value: number;
  expected: number;
  z: number;
  change: number;
  days: number;
  posts: string[];
};

/** The rows of a query, and the query with its values. */
export type Answer<Row> = { rows: Row[]; sql: string };

export type Facts = Period & {
  /** Days of the period. */
  length: number;
  totals: Answer<Total>;
  days: Answer<Day>;
  rates: Answer<Rate>;
  posts: Answer<Post>;
  times: Answer<Time>;
  anomalies: Answer<Anomaly>;
  published: Answer<{ now: number; before: number }>;
};

/** @param tx of one snapshot, so that the figures fit together */
export async function findFacts(tx: Queryable, period: Period): Promise<Facts> {
  const ask = async <Row extends object>(statement: Statement): Promise<Answer<Row>> => ({
    rows: await query<Row & Record<string, unknown>>(tx, statement, valuesOf(statement, period)),
    sql: printed(statement, period),
  });
  return {
    ...period,
    length: (Date.parse(period.last) - Date.parse(period.first)) / 86_400_000 + 1,
    totals: await ask(sql.totals),
    days: await ask(sql.days),
    rates: await ask(sql.rates),
    posts: await ask(sql.posts),
    times: await ask(sql.times),
    anomalies: await ask(sql.anomalies),
    published: await ask(sql.published),
  };
}

const valuesOf = ({ params }: Statement, period: Period) =>
  Object.fromEntries(Object.entries(period).filter(([name]) => params.includes(name)));

/** The statement that was run, with its values in place of the parameters. */
function printed({ text, params }: Statement, { accounts, first, last }: Period): string {
  const values: Record<string, string> = {
    accounts: `'{${accounts.join(',')}}'`,
    first: `'${first}'`,
    last: `'${last}'`,
  };
  const filled = text.replaceAll(/\$(\d+)/g, (_, n: string) => values[params[Number(n) - 1]!]!);
  return `${filled.replaceAll(/\n\s*\n/g, '\n')};`;
}
