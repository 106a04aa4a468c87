import { z } from 'zod';
import { transaction, type Tx } from '../../base/db/db.ts';
import { PermanentError } from '../../base/errors.ts';
import { loadStatements, query } from '../../base/db/sql.ts';
import { addJobs } from '../../queue/client/add.ts';
import { job, minutes } from '../../queue/job.ts';
import { accountFields, checkPeriod, findAccounts, period } from './account/accounts.ts';
import { findFacts, type Period } from './report/facts.ts';
import type { Insight } from './report/insights.ts';
import type { Whole } from './report/markdown.ts';

const sql = loadStatements(import.meta.dirname, 'report.sql', ['last_final_day', 'save_report']);

const payload = z
  .strictObject({
    ...accountFields,
    ...period,
    /** How many days, where `from` is not given. */
    days: z.int().min(1).max(400).default(7),
    title: z.string().trim().min(1).max(200).default('Report'),
    /** Who gets what happened by email. */
    email: z.string().min(3).max(320).optional(),
  })
  .superRefine(checkPeriod);

type Payload = z.output<typeof payload>;

/**
 * Writes what happened in a period: JSON, Markdown and HTML in analytics_reports. Each figure comes with the SQL that
 * gives it. By default the period ends with the last day that is final for all of its accounts.
 */
export default job({
  name: 'analytics.report',
  payload,
  sensitive: ['email'],
  timeout: minutes(10),

  async run({ job: { id }, payload: given, app, commit }) {
    const report = await transaction(app.db, (tx) => write(tx, given));
    return commit(async (tx) => {
      const { first, last } = report.facts;
      const { html, markdown, facts, insights, recommendations } = report;
      const [saved] = await query<{ id: number }>(tx, sql.save_report, {
        job_id: id,
        first,
        last,
        facts: JSON.stringify({ ...facts, insights, recommendations }),
        markdown,
        html,
      });
      if (given.email !== undefined)
        await addJobs(tx, [{ queue: 'notification', kind: 'email', payload: emailOf(given, report, saved!.id) }]);
      return { report: saved!.id, first, last, insights: insights.length, recommendations: recommendations.length };
    });
  },
});

type Report = Whole & { markdown: string; html: string };

async function write(tx: Tx, given: Payload): Promise<Report> {
  const [{ insightsOf, recommendationsOf }, { sectionsOf }, { markdownOf }, { htmlOf }] = await Promise.all([
    import('./report/insights.ts'),
    import('./report/sections.ts'),
    import('./report/markdown.ts'),
    import('./report/html.ts'),
  ]);
  // All figures are of one moment.
  await tx.query('set transaction isolation level repeatable read read only');
  const facts = await findFacts(tx, await periodOf(tx, given));
  const whole: Whole = {
    title: given.title,
    facts,
    insights: insightsOf(facts),
    recommendations: recommendationsOf(facts),
    sections: sectionsOf(facts),
  };
  return { ...whole, markdown: markdownOf(whole), html: htmlOf(whole) };
}

/** @throws PermanentError `analytics_nothing_collected` */
async function periodOf(tx: Tx, given: Payload): Promise<Period> {
  const accounts = await findAccounts(tx, given);
  if (accounts.length === 0)
    throw new PermanentError('analytics_nothing_collected', 'analytics_accounts has no account to report on');
  const [{ last: final }] = (await query<{ last: string }>(tx, sql.last_final_day, { accounts })) as [{ last: string }];
  const last = given.until ?? (given.from !== undefined && given.from > final ? given.from : final);
  const first = given.from ?? dayAfter(last, 1 - given.days);
  return { accounts, first, last };
}

const dayAfter = (day: string, days: number) =>
  new Date(Date.parse(day) + days * 86_400_000).toISOString().slice(0, 10);

function emailOf({ email, title }: Payload, { facts, insights, recommendations }: Report, id: number) {
  const lines = (heading: string, found: Insight[]) =>
    found.length === 0 ? [] : [heading, ...found.map(({ text, n, formula }) => `- ${text} (n = ${n}; ${formula})`), ''];
  const body = [
    ...lines('What happened', insights),
    ...lines('What to try', recommendations),
    `The whole report is row ${id} of analytics_reports.`,
  ];
  return { email, title: `${title}: ${facts.first} to ${facts.last}`, body: body.join('\n') };
}
