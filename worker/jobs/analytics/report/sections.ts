import type { Answer, Facts } from './facts.ts';
import { changeOf, dayName, percent, whole } from './numbers.ts';

/** The tables of a report, the same in Markdown and in HTML: what each has, and the SQL that it comes from. */

export type Section = {
  id: keyof Facts;
  title: string;
  /** What a reader must know to read it. */
  note: string;
  columns: { name: string; isNumber?: boolean }[];
  rows: string[][];
  sql: string;
};

const number = (name: string) => ({ name, isNumber: true });

export const sectionsOf = (facts: Facts): Section[] =>
  [totals(facts), rates(facts), posts(facts), times(facts), anomalies(facts)].filter(({ rows }) => rows.length > 0);

const section = <Row>(
  id: keyof Facts,
  title: string,
  note: string,
  { rows, sql }: Answer<Row>,
  columns: Section['columns'],
  cells: (row: Row) => string[],
): Section => ({ id, title, note, columns, rows: rows.map(cells), sql });

const totals = ({ totals: answer, length, accounts }: Facts) =>
  section(
    'totals',
    'Totals',
    `Compared with the ${length} days before. Of followers and posts: the last day that is known.`,
    answer,
    [{ name: 'Metric' }, number('Now'), number('Before'), number('Change'), number('Known days')],
    ({ metric, value, before, days }) => [
      metric.replaceAll('_', ' '),
      whole(value),
      whole(before),
      changeOf(value, before),
      `${days} of ${length * accounts.length}`,
    ],
  );

const rates = ({ rates: answer }: Facts) =>
  section(
    'rates',
    'Engagement',
    'Sums over sums, not the average of rates. What a platform does not tell is not in the formula.',
    answer,
    [
      { name: 'Account' },
      number('Views'),
      number('Engagements'),
      number('Rate'),
      number('Before'),
      { name: 'Formula' },
    ],
    ({ platform, name, views, engagements, rate, rate_before, formula }) => [
      `${name} (${platform})`,
      whole(views),
      whole(engagements),
      percent(rate, 2),
      percent(rate_before, 2),
      formula ?? '–',
    ],
  );

const posts = ({ posts: answer }: Facts) =>
  section(
    'posts',
    'Most viewed posts',
    'Views and engagements of the period, not since the post was published.',
    answer,
    [{ name: 'Post' }, { name: 'Published' }, number('Views'), number('Engagements'), number('Rate')],
    ({ title, platform, published, views, engagements, rate }) => [
      `${title} (${platform})`,
      published ?? '–',
      whole(views),
      whole(engagements),
      percent(rate, 2),
    ],
  );

function times({ times: { rows, sql } }: Facts): Section {
  const parts = rows.filter(({ by_what }) => by_what !== 'all');
  return section(
    'times',
    'When posts were published',
    'The median engagement rate of posts of the last 90 days with 100 views and more, in the account’s time zone.',
    { rows: parts.length > 0 ? rows : [], sql },
    [{ name: 'Published' }, number('Posts'), number('Median rate')],
    ({ by_what, part, n, median_rate }) => [
      by_what === 'all' ? 'all' : by_what === 'weekday' ? dayName(part) : `${part}:00 to ${part + 3}:00`,
      whole(n),
      percent(median_rate, 2),
    ],
  );
}

const anomalies = ({ anomalies: answer }: Facts) =>
  section(
    'anomalies',
    'Days that stand out',
    'z: robust standard deviations from what the eight weeks before let expect on this weekday.',
    answer,
    [{ name: 'Day' }, { name: 'Account' }, { name: 'Metric' }, number('Value'), number('Expected'), number('z')],
    ({ day, name, metric, value, expected, z }) => [
      day,
      name,
      metric.replaceAll('_', ' '),
      whole(value),
      whole(Math.round(expected)),
      z.toFixed(1),
    ],
  );
