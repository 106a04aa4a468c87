import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { inventDays } from '../../worker/cli/demo/days.ts';
import { insightsOf, recommendationsOf } from '../../worker/jobs/analytics/report/insights.ts';
import type { Facts } from '../../worker/jobs/analytics/report/facts.ts';
import { loadRegistry } from '../../worker/queue/registry.ts';
import { findChromium, startChromium } from '../support/browser.ts';
import { add, reads, type Row } from '../support/jobs.ts';
import { createRig, type Rig } from '../support/worker.ts';

// A report on sixty invented days: its figures can be found again, and people can read it.

type Report = { id: number; first_day: string; last_day: string; facts: Facts; markdown: string; html: string };

const hostile = '<script>alert(1)</script> "[x](https://evil.example)" | `rm` ​é';
let rig: Rig;
let report: Report;
let answer: Row;
before(async () => {
  rig = await createRig();
  await rig.worker(await loadRegistry(), { QUEUES: 'analytics' });
  await inventDays(rig.db, { platform: 'tiktok', external_id: 'open-1', name: 'Ada' });
  await inventDays(rig.db, { platform: 'youtube', external_id: 'channel-1', name: 'Ada & sons' });
  await rig.db.query(`update analytics_posts set title = $1 where external_id like 'open-1-%'`, [hostile]);
  for (const [kind, payload] of [
    ['aggregate', {}],
    ['anomalies', { days: 20 }],
  ] as const)
    await job(kind, payload);
  answer = await job('report', { days: 28, title: 'Four weeks', email: 'ada@shop.example' });
  report = await stored(answer);
});
after(() => rig.close());

async function job(kind: string, payload: object, status = 'completed'): Promise<Row> {
  return reads(rig.db, await add(rig.db, 'analytics', kind, { payload }), { status }, 120_000);
}

async function stored({ result }: Row): Promise<Report> {
  const { rows } = await rig.db.query<Report>(
    `select id, first_day::text, last_day::text, facts, markdown, html from analytics_reports where id = $1`,
    [result.report],
  );
  return rows[0]!;
}

test('every figure is what the SQL printed under it gives', async () => {
  const { facts, html, markdown } = report;
  for (const name of ['totals', 'days', 'rates', 'posts', 'times', 'anomalies', 'published'] as const) {
    const { rows, sql } = facts[name];
    assert.ok(rows.length > 0, `${name} has no rows`);
    assert.deepEqual(JSON.parse(JSON.stringify((await rig.db.query(sql)).rows)), rows, name);
  }
  for (const name of ['totals', 'rates', 'posts', 'times', 'anomalies'] as const) {
    assert.ok(markdown.includes(facts[name].sql), `${name} in Markdown`);
    assert.ok(html.includes(facts[name].sql.replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll("'", '&#39;')));
  }
});

test('the totals are those of metric_daily, and the day that was four times as large stands out', async () => {
  const { facts } = report;
  const { rows } = await rig.db.query<{ views: number }>(
    `select sum(value)::bigint as views from metric_daily
      where metric = 'views' and post_id <> 0 and day between $1 and $2`,
    [report.first_day, report.last_day],
  );
  assert.equal(facts.totals.rows.find(({ metric }) => metric === 'views')!.value, rows[0]!.views);
  const engagements = facts.rates.rows.reduce((sum, row) => sum + row.engagements!, 0);
  const views = facts.rates.rows.reduce((sum, row) => sum + row.views!, 0);
  assert.ok(engagements > 0 && views === rows[0]!.views);
  const ago = await rig.db.query<{ day: string }>(`select (current_date - 9)::text as day`);
  const found = facts.anomalies.rows.filter(({ metric }) => metric === 'views');
  assert.deepEqual(
    found.map(({ name, day }) => `${name} ${day}`).toSorted((a, b) => a.localeCompare(b)),
    ['Ada & sons', 'Ada'].map((name) => `${name} ${ago.rows[0]!.day}`),
  );
});

test('titles of posts are text, in HTML and in Markdown', () => {
  assert.ok(!report.html.includes('<script'));
  assert.ok(report.html.includes('&lt;script&gt;alert(1)&lt;/script&gt; &quot;[x]'));
  assert.ok(report.html.includes(`<td>Ada &amp; sons (youtube)</td>`));
  assert.ok(report.markdown.includes('\\<script\\>alert(1)\\</script\\> "\\[x\\](https://evil.example)" \\| \\`rm\\`'));
});

test('what happened goes by email, once, and its job is sealed or kept as any other', async () => {
  const { rows } = await rig.db.query(`select kind, payload from notification_jobs`);
  assert.equal(rows.length, 1);
  const [{ kind, payload }] = rows as [{ kind: string; payload: Record<string, string> }];
  assert.deepEqual([kind, payload['email']], ['email', 'ada@shop.example']);
  assert.match(payload['title']!, /^Four weeks: \d{4}-\d\d-\d\d to \d{4}-\d\d-\d\d$/);
  assert.match(payload['body']!, /^What happened\n- /);
  assert.deepEqual(Object.keys(answer.result), ['last', 'first', 'report', 'insights', 'recommendations']);
});

test('a period without figures has a report without numbers, and without accounts there is none', async () => {
  const empty = await stored(await job('report', { from: '2001-01-01', until: '2001-01-07' }));
  assert.deepEqual(empty.facts.totals.rows, []);
  assert.ok(!/NaN|undefined|null|Infinity/.test(empty.html.replaceAll(/<pre>[^]*?<\/pre>/g, '')));
  const none = await job('report', { platform: 'facebook' }, 'failed');
  assert.equal(none.error_code, 'analytics_nothing_collected');
});

const chromium = findChromium();

test('it fits a phone and a desk, light and dark', { skip: chromium ? false : 'no Chromium' }, async (t) => {
  const browser = await startChromium(chromium!);
  t.after(() => browser.close());
  const shots = process.env['SCREENSHOTS'];
  if (shots) await mkdir(shots, { recursive: true });
  for (const [width, colorScheme] of [
    [320, 'light'],
    [390, 'dark'],
    [1_280, 'light'],
    [1_280, 'dark'],
  ] as const) {
    const context = await browser.newContext({ viewport: { width, height: 800 }, colorScheme });
    const page = await context.newPage();
    const faults: string[] = [];
    page.on('console', (message) => faults.push(message.text()));
    await page.setContent(report.html);
    assert.equal(await page.evaluate('document.documentElement.scrollWidth'), width);
    assert.equal(await page.locator('svg:visible').count(), 3);
    assert.deepEqual(faults, []);
    if (shots)
      await writeFile(join(shots, `report-${width}-${colorScheme}.png`), await page.screenshot({ fullPage: true }));
    await context.close();
  }
});

suite('rules', () => {
  const facts = (given: object): Facts =>
    ({
      accounts: [1],
      first: '2026-11-01',
      last: '2026-11-07',
      length: 7,
      ...Object.fromEntries(
        ['totals', 'days', 'rates', 'posts', 'times', 'anomalies', 'published'].map((name) => [
          name,
          { rows: (given as Record<string, object[]>)[name] ?? [], sql: '' },
        ]),
      ),
    }) as Facts;
  const total = { metric: 'views', value: 120, before: 100, days: 7, days_before: 7 };
  const rate = { account_id: 1, platform: 'tiktok', name: 'Ada', formula: '(likes) / views' };
  const time = (by_what: string, part: number, n: number, median_rate: number) => ({ by_what, part, n, median_rate });
  const cases: [name: string, given: object, insights: RegExp[], recommendations: RegExp[]][] = [
    ['a change', { totals: [total] }, [/^120 views: 20 % more than in the 7 days before \(100\)\.$/], []],
    ['a small change', { totals: [{ ...total, value: 105 }] }, [], []],
    ['days that lack', { totals: [{ ...total, days: 5 }] }, [/only 5 of 7 days are known/], []],
    ['nothing before', { totals: [{ ...total, before: 0 }] }, [], []],
    [
      'a rate that chance explains',
      {
        rates: [
          {
            ...rate,
            views: 200,
            engagements: 12,
            rate: 0.06,
            views_before: 200,
            engagements_before: 9,
            rate_before: 0.045,
          },
        ],
      },
      [],
      [],
    ],
    [
      'a rate that it does not',
      {
        rates: [
          {
            ...rate,
            views: 20_000,
            engagements: 1_200,
            rate: 0.06,
            views_before: 20_000,
            engagements_before: 900,
            rate_before: 0.045,
          },
        ],
      },
      [/rose from 4\.50 % to 6\.00 %/],
      [],
    ],
    [
      'a weekday',
      { times: [time('all', 0, 40, 0.05), time('weekday', 2, 6, 0.07), time('weekday', 3, 9, 0.05)] },
      [],
      [/^Try Tuesdays: .* 7\.00 %, all posts 5\.00 %\.$/],
    ],
    [
      'a weekday of few posts',
      { times: [time('all', 0, 40, 0.05), time('weekday', 2, 4, 0.09), time('weekday', 3, 9, 0.05)] },
      [],
      [],
    ],
    ['fewer posts', { published: [{ now: 2, before: 8 }] }, [], [/^2 posts were published, 8 in the 7 days before/]],
  ];
  for (const [name, given, insights, recommendations] of cases)
    test(name, () => {
      for (const [found, expected] of [
        [insightsOf(facts(given)), insights],
        [recommendationsOf(facts(given)), recommendations],
      ] as const) {
        assert.equal(found.length, expected.length, JSON.stringify(found));
        for (const [n, pattern] of expected.entries()) assert.match(found[n]!.text, pattern);
      }
    });
});
