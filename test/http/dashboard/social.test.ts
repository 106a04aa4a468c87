import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { inventDays } from '../../../worker/cli/demo/days.ts';
import { loadRegistry } from '../../../worker/queue/registry.ts';
import {
  checkAccessible,
  closeBrowser,
  openPage,
  reader,
  serveDashboard,
  type Served,
} from '../../support/dashboard.ts';
import { withoutChromium } from '../../support/dashboard.ts';
import { add, reads } from '../../support/jobs.ts';
import { addAccount, sealEnv } from '../../support/social-account.ts';

// The pages of social posts and of analytics: a calendar, the way of a post, plots of days with those that stand out.

const hostile = `<script>document.title='owned'</script><img src=x onerror="document.title='owned'">"'`;

let served: Served;
let unconfirmed: number;
let account: number;

before(async () => {
  served = await serveDashboard(await loadRegistry(), { QUEUES: 'analytics', ...sealEnv });
  const { db } = served;
  const id = await addAccount(db, 'tiktok', { external_id: 'open-1', name: hostile });
  const added = await db.query<{ id: number }>(
    `insert into social_posts (account_id, content, scheduled_at)
     select $1, jsonb_build_object('title', $2::text), now() + make_interval(days => n) from generate_series(0, 9) n
     returning id`,
    [id, hostile],
  );
  unconfirmed = added.rows[0]!.id;
  await db.query(`update social_posts set status = 'publishing', step = 'submit' where id = $1`, [unconfirmed]);
  await db.query(
    `insert into social_attempts (post_id, status, fingerprint, job_id, job_attempt, sent_at, error)
     values ($1, 'ambiguous', 'x', 1, 1, now(), $2)`,
    [unconfirmed, hostile],
  );
  await db.query(`update social_posts set status = 'unconfirmed', error_code = 'social_unconfirmed' where id = $1`, [
    unconfirmed,
  ]);
  account = await inventDays(db, { platform: 'tiktok', external_id: 'open-1', name: hostile });
  for (const [kind, payload] of [
    ['aggregate', { days: 62 }],
    ['anomalies', { days: 40 }],
  ] as const)
    await reads(db, await add(db, 'analytics', kind, { payload }), { status: 'completed' }, 120_000);
});
after(async () => {
  await closeBrowser();
  await served.close();
});

const read = async (path: string, as?: string) => {
  const answer = await served.get(path, as);
  const text = await answer.text();
  assert.doesNotMatch(text, /<script>document|<img src=x/);
  return { status: answer.status, text };
};

test('the calendar has each post on its day, and first what a person must look at', async () => {
  const { status, text } = await read('posts', reader);
  assert.equal(status, 200);
  assert.match(text, /Nobody knows whether these were published<\/span> <small>1</);
  assert.equal(text.match(/<span class="soft">scheduled<\/span>/g)!.length, 9);
  assert.match(text, new RegExp(`rowmill post resolve ${unconfirmed}<`));
  assert.match((await read('posts?from=1999-01-01')).text, /0 due from 1998-12-28 \(UTC\)/);
});

test('a post has its way, and what was sent', async () => {
  const { text } = await read(`posts/${unconfirmed}`);
  for (const word of ['unconfirmed', 'ambiguous', 'submit', 'prepare', 'social_unconfirmed'])
    assert.match(text, new RegExp(word));
  assert.equal((await read('posts/4711')).status, 404);
});

test('accounts are compared with the period before, and the days of one with those before', async () => {
  const { rows } = await served.db.query<{ value: number; before: number }>(
    `select sum(value) filter (where day > current_date - 2 - 7)::bigint as value,
            sum(value) filter (where day <= current_date - 2 - 7)::bigint as before
       from metric_daily
      where post_id = 0 and metric = 'views' and day > current_date - 2 - 14 and day <= current_date - 2`,
  );
  const [{ value, before: earlier }] = rows as [{ value: number; before: number }];
  const { text } = await read('analytics?days=7');
  assert.match(text, new RegExp(`>${value.toLocaleString('en')}<[^]*>${earlier.toLocaleString('en')}<`));
  const { text: days } = await read(`analytics/${account}?metric=views&days=28`);
  assert.match(days, /these 28 days[^]*the 28 before[^]*stands out/);
  const strange = await served.db.query<{ day: string; z: number }>(
    `select day::text, z from anomalies where metric = 'views' and day > current_date - 1 - 28`,
  );
  assert.ok(strange.rows.length > 0);
  for (const { day, z } of strange.rows) assert.match(days, new RegExp(`<td>${day}</td>[^]*>${z.toFixed(1)}<`));
  assert.equal(days.match(/<polyline class="errors"/g)!.length, strange.rows.length);
  assert.equal((await read('analytics/4711')).status, 404);
});

suite('in a browser', { skip: withoutChromium }, () => {
  test('the pages fit wide and narrow windows, and screen readers', async () => {
    for (const [width, colorScheme] of [
      [1280, 'light'],
      [390, 'dark'],
    ] as const) {
      const { page, faults, context } = await openPage(undefined, { viewport: { width, height: 900 }, colorScheme });
      for (const path of ['posts', `posts/${unconfirmed}`, 'analytics', `analytics/${account}?metric=views&days=28`]) {
        assert.equal((await page.goto(served.url + path))!.status(), 200, path);
        await checkAccessible(page);
        const sideways = await page.evaluate<number>('document.documentElement.scrollWidth - innerWidth');
        assert.ok(sideways <= 0, `${path} is ${sideways} pixels too wide for ${width}`);
        assert.notEqual(await page.title(), 'owned');
        const { SCREENSHOTS } = process.env;
        const name = path.replace(/\W+/g, '-');
        if (SCREENSHOTS) await page.screenshot({ path: join(SCREENSHOTS, `${name}-${width}.png`), fullPage: true });
      }
      assert.deepEqual(faults, []);
      await context.close();
    }
  });
});
