import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { after, before, suite, test } from 'node:test';
import { z } from 'zod';
import { PermanentError, job } from '../../../worker/queue/job.ts';
import type { Registry } from '../../../worker/queue/registry.ts';
import {
  checkAccessible,
  closeBrowser,
  openPage,
  operator,
  reader,
  serveDashboard,
  withoutChromium,
  type Served,
} from '../../support/dashboard.ts';
import { eventually } from '../../support/eventually.ts';
import { add, reads } from '../../support/jobs.ts';

// The pages of jobs: by forms as a browser sends them, and in a browser.

const attack = `<script>document.title='owned'</script><img src=x onerror="document.title='owned'">"'&\``;
const sensitiveKind = job({
  name: 'notification.note',
  payload: z.object({ email: z.object({ to: z.string() }), body: z.string() }),
  sensitive: ['email.to'],
  async run({ payload }) {
    if (payload.body === 'bad') throw new PermanentError('media_truncated', `cannot ${attack}`);
    return { length: payload.body.length };
  },
});

let served: Served;
before(async () => {
  const registry: Registry = new Map([['notification.note', sensitiveKind]]);
  served = await serveDashboard(registry, {
    QUEUES: 'notification',
    SEAL_KEYS: `k1:${Buffer.alloc(32, 7).toString('base64')}`,
  });
});
after(async () => {
  await closeBrowser();
  await served.close();
});

/** On a busy machine Postgres may not answer within 5 s: the page says so, and is loaded again. */
const text = (path: string, as?: string) =>
  eventually(async () => {
    const response = await served.get(path, as);
    assert.notEqual(response.status, 503);
    return { status: response.status, html: await response.text() };
  });
const note = (body: string, columns = {}) =>
  add(served.db, 'notification', 'note', { payload: { email: { to: 'ada@example.com' }, body }, ...columns });
const later = { run_at: new Date(Date.now() + 3_600_000) };
const actions = async () =>
  (await served.db.query('select * from operator_actions order by id')).rows as Record<string, any>[];

test('a failed job shows its life, its cause and what mends it, and no sensitive value', async () => {
  const id = await note('bad');
  await reads(served.db, id, { status: 'failed' });
  const { status, html } = await text(`jobs/${id}`);
  assert.equal(status, 200);
  for (const shown of ['media_truncated', 'failed for good', 'solution', `select * from jobs where id = ${id};`])
    assert.ok(html.includes(shown), shown);
  assert.ok(!html.includes('ada@example.com') && !/sealed:k1/.test(html));
});

test('a job is retried, moved, given a priority and cancelled by forms, and each is written down', async () => {
  const id = await note('good', later);
  const said = async (path: string, form = {}) => {
    const response = await served.post(path, form);
    assert.equal(response.status, 303, await response.clone().text());
    const [, done] = /done=(\d+)$/.exec(response.headers.get('location')!)!;
    return (await text(`jobs/${id}?done=${done}`)).html;
  };
  assert.match(await said(`jobs/${id}/reschedule`, { run_at: '2099-01-31T12:00:00' }), /is due at 2099-01-31T12:00:00/);
  assert.match(await said(`jobs/${id}/priority`, { priority: '-7' }), /has priority -7/);
  await reads(served.db, id, { priority: -7, run_at: new Date('2099-01-31T12:00:00Z') });
  assert.match(await said(`jobs/${id}/cancel`), /is cancelled/);
  await reads(served.db, id, { status: 'cancelled' });
  assert.match(await said(`jobs/${id}/retry`), /runs again now/);
  await reads(served.db, id, { status: 'completed' });
  const mine = (await actions()).filter(({ subject }) => subject === `id:${id}`);
  assert.deepEqual(
    mine.map(({ who, action, changed }) => [who, action, changed]),
    ['reschedule', 'priority', 'cancel', 'retry'].map((action) => ['ada', action, 1]),
  );
  const refused = await served.post(`jobs/${id}/cancel`);
  assert.equal(refused.status, 422);
  assert.match(await refused.text(), /is completed: it has ended/);
});

test('a job is inserted again with an edited payload; what is sensitive stays, sealed for the new row', async () => {
  const id = await note('good', later);
  await served.db.query(`update jobs set status = 'cancelled' where id = $1`, [id]);
  const payload = JSON.stringify({ email: { to: '[sensitive]' }, body: 'edited' });
  const response = await served.post(`jobs/${id}/again`, { payload });
  assert.equal(response.status, 303, await response.clone().text());
  const [, again] = /jobs\/(\d+)\?done/.exec(response.headers.get('location')!)!;
  const row = await reads(served.db, Number(again), { status: 'completed' });
  assert.deepEqual(row.result, { length: 6 });
  assert.match(row.payload.email.to, /^sealed:k1:/);
  for (const [wrong, told] of [
    ['{"email": {"to": "x"}, "body": "b", "more": 1}', /more/],
    ['{"email"', /no JSON/],
    ['{"email": {"to": "x"}, "body": 12345678901234567890}', /would be rounded/],
  ] as const) {
    const refused = await served.post(`jobs/${id}/again`, { payload: wrong });
    assert.equal(refused.status, 422);
    assert.match(await refused.text(), told);
  }
});

test('who may only read changes nothing, also by hand', async () => {
  const id = await note('good', later);
  const logged = (await actions()).length;
  for (const path of ['retry', 'cancel', 'reschedule', 'priority', 'again'])
    assert.equal(
      (await served.post(`jobs/${id}/${path}`, { run_at: '2099-01-01', priority: '1' }, { as: reader })).status,
      403,
    );
  const all = { action: 'cancel', subject: 'queue:notification' };
  assert.equal((await served.post('jobs/act', all, { as: reader })).status, 403);
  assert.equal((await text(`jobs/confirm?action=cancel&ids=${id}`, reader)).status, 403);
  assert.equal(
    (await served.post(`jobs/${id}/cancel`, {}, { headers: { origin: 'http://evil.example' } })).status,
    403,
  );
  assert.doesNotMatch((await text(`jobs/${id}`, reader)).html, /<button class="danger"/);
  await reads(served.db, id, { status: 'pending' });
  assert.equal((await actions()).length, logged);
});

test('a search with a fault says where, and sensitive values cannot be searched', async () => {
  for (const [q, told] of [
    ['queue:media colour:red', /position 13: there is no word colour:/],
    ['state:broken', /position 1: there is no state broken/],
    ['text:"open', /a quote is not closed/],
    ['payload.email.to:ada@example.com', /payload\.email\.to is sensitive/],
    ['payload.email:*', /is sensitive/],
  ] as const) {
    const { status, html } = await text(`jobs?q=${encodeURIComponent(q)}`);
    assert.equal(status, 422, q);
    assert.match(html, told);
  }
});

test('tricks with paths and queries are answered, and change nothing', async () => {
  for (const path of [
    'jobs/99999999999999999999',
    'jobs/0',
    'jobs/1%2F..%2F2',
    'jobs/1;drop',
    '..%2f..%2fetc/passwd',
    'assets/..%2fdashboard.ts',
    'assets/constructor',
    'actions/999999',
    'nothing',
  ])
    assert.ok([404, 422].includes((await text(path)).status), path);
  for (const q of ['\0', '%', '\u{202e}', 'id:9007199254740993', `text:${'%a'.repeat(500)}`, 'payload.a."b:1'])
    assert.ok([200, 422].includes((await text(`jobs?q=${encodeURIComponent(q)}`)).status), q);
  assert.equal((await text('jobs?below=-1&below=x')).status, 200);
  assert.equal((await text('jobs?done=1%27')).status, 200);
});

test('an action on many jobs is counted first, done in steps, and can be stopped and resumed', async () => {
  await served.db.query(
    `insert into jobs (queue, kind, payload, status, completed_at, error_code)
     select 'media', 'many', '{}', 'failed', now(), 'raid_timeout' from generate_series(1, 1200)`,
  );
  const q = 'queue:media kind:many error:raid_*';
  const confirmation = await text(`jobs/confirm?${new URLSearchParams({ q, all: '1', action: 'retry' }).toString()}`);
  assert.match(confirmation.html, />1,200</);
  const begun = await served.post('jobs/act', { action: 'retry', subject: q, jobs: '1200' });
  assert.equal(begun.status, 303);
  const [, id] = /actions\/(\d+)$/.exec(begun.headers.get('location')!)!;
  await eventually(async () => {
    const [action] = (await served.db.query('select * from operator_actions where id = $1', [id])).rows;
    assert.deepEqual([action.state, action.changed], ['done', 1200]);
  });
  const pending = await served.db.query(
    `select from jobs where queue = 'media' and kind = 'many' and status = 'pending'`,
  );
  assert.equal(pending.rowCount, 1200);
  assert.match((await text(`actions/${id}`)).html, /1,200 of 1,200/);
  assert.equal((await served.post(`actions/${id}/stop`)).status, 422);
});

test('all jobs can be meant, by an empty search', async () => {
  const { html } = await text('jobs/confirm?q=&all=1&action=priority');
  assert.match(html, /name="subject" value=""/);
  const begun = await served.post('jobs/act', { action: 'priority', subject: '', priority: '0' });
  const [, id] = /actions\/(\d+)$/.exec(begun.headers.get('location')!)!;
  await eventually(async () => assert.match((await text(`actions/${id}`)).html, /all jobs[^]*>done<\/b>/));
});

test('who stops or resumes an action on many jobs is written down', async () => {
  const { rows } = await served.db.query(
    `insert into operator_actions (who, action, subject, settings, state, after_id, until_id, step_at)
     values ('bob', 'retry', 'kind:nothing', '{}', 'stopped', 0, 0, now()) returning id`,
  );
  assert.equal((await served.post(`actions/${rows[0].id}/resume`)).status, 303);
  const { who, action, subject, outcome } = (await actions()).at(-1)!;
  assert.deepEqual([who, action, subject], ['ada', 'resume', `action ${rows[0].id}`]);
  assert.equal(outcome, `Action ${rows[0].id}, retry by bob, is running`);
});

suite('in a browser', { skip: withoutChromium }, () => {
  test('no text that a job can carry runs as a script', async () => {
    const id = await add(served.db, 'media', attack.replaceAll('.', '').slice(0, 90), {
      payload: { [attack]: attack },
      dedupe_key: attack,
      error_code: attack.slice(0, 60),
      error: attack,
      result: JSON.stringify({ a: attack }),
      status: 'failed',
      completed_at: new Date(),
    });
    const { page } = await openPage();
    const asked: string[] = [];
    page.on('dialog', (dialog) => asked.push(dialog.message()));
    for (const path of ['jobs', `jobs?q=${encodeURIComponent(attack)}`, `jobs/${id}`, 'dead', `jobs/${id}/payload`]) {
      await page.goto(served.url + path);
      assert.notEqual(await page.title(), 'owned', path);
      assert.equal(await page.locator('main img, main script').count(), 0, path);
    }
    assert.deepEqual(asked, []);
  });

  test('the pages are accessible, look right narrow and wide, light and dark', async () => {
    const id = await note('bad');
    await reads(served.db, id, { status: 'failed' });
    const act = await served.post('jobs/act', { action: 'priority', subject: `id:${id}`, priority: '1' });
    const pages = {
      jobs: 'jobs',
      job: `jobs/${id}`,
      dead: 'dead',
      confirm: `jobs/confirm?action=retry&ids=${id}`,
      action: new URL(act.headers.get('location')!, `${served.url}jobs/act`).pathname.split('/dashboard/')[1]!,
    };
    const folder = process.env['SCREENSHOTS'];
    if (folder) await mkdir(folder, { recursive: true });
    for (const colorScheme of ['light', 'dark'] as const)
      for (const width of [1280, 390]) {
        const { page, context, faults } = await openPage(operator, { colorScheme, viewport: { width, height: 900 } });
        for (const [name, path] of Object.entries(pages)) {
          await page.goto(served.url + path);
          await checkAccessible(page);
          const wide = await page.evaluate<number>('document.documentElement.scrollWidth');
          assert.ok(wide <= width, `${name} is ${wide} wide of ${width}`);
          if (folder) await page.screenshot({ path: `${folder}/${name}-${width}-${colorScheme}.png`, fullPage: true });
        }
        assert.deepEqual(faults, []);
        await context.close();
      }
  });

  test('keys search, choose a row and retry it; a live part keeps what is checked', async () => {
    const id = await note('bad');
    await reads(served.db, id, { status: 'failed' });
    const { page, faults } = await openPage();
    await page.goto(`${served.url}jobs?q=state:failed`);
    await page.keyboard.press('/');
    assert.equal(await page.evaluate('document.activeElement.name'), 'q');
    await page.keyboard.press('Escape');
    await page.evaluate('document.activeElement.blur()');
    await page.keyboard.press('j');
    await page.keyboard.press('x');
    await note('bad');
    // The new row arrives by the stream; the box stays checked, and the row chosen.
    await page.waitForSelector(`tbody tr:first-child:not(#job-${id})`);
    await page.waitForSelector(`#job-${id}.chosen`);
    assert.equal(await page.isChecked(`#job-${id} input`), true);
    await page.keyboard.press('r');
    await page.waitForURL(/confirm/);
    await page.click('button.main');
    await page.waitForURL(/actions\/\d+/);
    await page.getByText('1 of 1').waitFor();
    assert.deepEqual(faults, []);
  });

  test('everything that is needed works without JavaScript', async () => {
    const id = await note('good', later);
    const { page } = await openPage(operator, { javaScriptEnabled: false });
    await page.goto(`${served.url}jobs`);
    await page.fill('input[name=q]', `id:${id}`);
    await page.click('text=Search');
    await page.click(`tbody a`);
    await page.click('button:has-text("Run now")');
    assert.match(await page.innerText('.notice'), /runs again now/);
    await reads(served.db, id, { status: 'completed' });
  });
});
