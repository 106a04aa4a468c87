import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import type { Page } from 'playwright-core';
import sharp from 'sharp';
import { DeploymentError, PermanentError } from '../../../worker/base/errors.ts';
import { job } from '../../../worker/queue/job.ts';
import { z } from 'zod';
import {
  checkAccessible,
  closeBrowser,
  openPage,
  reader,
  serveDashboard,
  withoutChromium,
  type Served,
} from '../../support/dashboard.ts';
import { eventually } from '../../support/eventually.ts';
import { add, reads } from '../../support/jobs.ts';

// The pages beside those of jobs, in a browser, with a worker: each is read, and each of its buttons is pressed.

const hostile = `<script>document.title='owned'</script><img src=x onerror="document.title='owned'">"'`;
/** What is answered 503 is asked for again. */
const isFault = (fault: string) => !fault.includes('503');
const paths = [
  '',
  '?hours=24',
  'schedules',
  'schedule?name=nightly',
  'schedule?name=new%20one',
  'workers',
  'ways-in',
  'rejected/1',
  'notifications',
  'notifications?message=order-1',
  'templates',
  'template?id=welcome',
  'alerts',
  'actions',
];

suite('in a browser', { skip: withoutChromium }, () => {
  let served: Served;
  let works = true;

  /** On a busy machine a page may take its 5 seconds, and say so. */
  const go = (page: Page, path: string) =>
    eventually(async () => {
      page.setDefaultTimeout(180_000);
      assert.equal((await page.goto(served.url + path))!.status(), 200, path);
    }, 180_000);

  before(async () => {
    const payload = z.record(z.string(), z.unknown());
    const kinds = [
      job({
        name: 'media.picture',
        payload,
        async run({ app }) {
          if (!works) throw new DeploymentError('storage', 'storage_denied', '401 Unauthorized');
          const picture = await sharp({ create: { width: 60, height: 40, channels: 3, background: '#3455db' } })
            .webp()
            .toBuffer();
          await app.storage.put('made/picture.webp', picture, { contentType: 'image/webp' });
          return { key: 'made/picture.webp', width: 60, height: 40, bytes: picture.length };
        },
      }),
      job({
        name: 'social.dies',
        payload,
        run: async () => {
          throw new PermanentError('payload_rejected', hostile);
        },
      }),
    ];
    served = await serveDashboard(new Map(kinds.map((kind) => [kind.name, kind])), {
      INCIDENT_CHECK_INTERVAL: '600000',
    });
    await served.db.query(
      `insert into schedules (name, cron, queue, kind, enabled)
       values ('nightly', '30 3 * * *', 'media', 'picture', false)`,
    );
    await served.db.query(
      `insert into rejected_messages (source, key, body, headers, reason, error)
       values ('rabbitmq:media', $1, convert_to('{"a": ', 'UTF8'), jsonb_build_object('x-from', $1::text),
               'not_json', $1)`,
      [hostile],
    );
    await served.db.query(
      `insert into notifications (id, message_id, channel, template_id) values ('n1', 'order-1', 'email', $1)`,
      [hostile],
    );
    await served.db.query(
      `insert into notification_deliveries (notification_id, channel, recipient_hash, status, provider)
       values ('n1', 'email', repeat('a', 64), 'ambiguous', 'smtp')`,
    );
    await served.db.query(
      `insert into alerts (fingerprint, condition, subject, what, solution, query, count, last_at)
       values ('x', 'dead_letters', 'x', $1, 'Look.', 'select 1', 3, now())`,
      [hostile],
    );
    await reads(served.db, await add(served.db, 'social', 'dies'), { status: 'failed' }, 180_000);
  });
  after(async () => {
    await closeBrowser();
    await served.close();
  });

  test('every page can be read, wide and narrow, and with a screen reader; no text runs as a script', async () => {
    for (const [width, colorScheme] of [
      [1280, 'light'],
      [390, 'dark'],
    ] as const) {
      const { page, faults, context } = await openPage(undefined, { viewport: { width, height: 900 }, colorScheme });
      for (const path of paths) {
        await go(page, path);
        await checkAccessible(page);
        const sideways = await page.evaluate<number>('document.documentElement.scrollWidth - innerWidth');
        assert.ok(sideways <= 0, `${path} is ${sideways} pixels too wide for ${width}`);
        const isNameInView = await page.evaluate<boolean>(`
          [...document.querySelectorAll('nav [aria-current]')].every((name) => {
            const { left, right } = name.getBoundingClientRect();
            return left >= 0 && right <= innerWidth;
          })`);
        assert.ok(isNameInView, `${path}: the name of the page is beyond the edge of ${width} pixels`);
        assert.notEqual(await page.title(), 'owned');
      }
      assert.deepEqual(faults.filter(isFault), []);
      await context.close();
    }
  });

  test('every page can be read without JavaScript, by who may only read: it has no button that posts', async () => {
    const { page, context } = await openPage(reader, { javaScriptEnabled: false });
    for (const path of paths.filter((each) => each !== 'schedule?name=new%20one')) {
      await go(page, path);
      assert.equal(await page.locator('form[method=post]').count(), 0, path);
    }
    await context.close();
  });

  test('nobody who may only read can post, whatever the page shows', async () => {
    const posts: [string, Record<string, string>][] = [
      ['queues/pause', { queue: 'media' }],
      ['incidents/try', { id: crypto.randomUUID() }],
      ['schedules/run', { name: 'nightly' }],
      ['schedules/enable', { name: 'nightly' }],
      ['schedules/delete', { name: 'nightly' }],
      ['schedule', { name: 'mine', cron: '@daily', kind: 'media.picture' }],
      ['rejected/resubmit', { id: '1', key: 'media.picture', body: '{}' }],
      ['rejected/delete', { id: '1' }],
      ['alerts/silence', { id: '1', seconds: '3600' }],
      ['alerts/unsilence', { id: '1' }],
    ];
    for (const [path, form] of posts) assert.equal((await served.post(path, form, { as: reader })).status, 403, path);
    const { rows } = await served.db.query(`
      select (select count(*) from queues where paused)
             + (select count(*) from schedules where name = 'mine' or enabled) as changed,
             (select count(*) from rejected_messages) as rejected`);
    assert.deepEqual(rows, [{ changed: 0, rejected: 1 }]);
  });

  test('a queue is paused and resumed on the overview, which says by whom, and follows what others do', async () => {
    const { page, faults, context } = await openPage();
    await go(page, '');
    const row = page.locator('tr', { has: page.getByText('publish', { exact: true }) });
    await row.getByRole('button', { name: 'Pause' }).click();
    await page.getByText('Queue publish is paused by ada').waitFor();
    await page.getByLabel('Needs attention').getByRole('button', { name: 'Resume' }).click();
    await page.getByText('Queue publish is paused').waitFor({ state: 'detached' });

    const { y: top } = (await page.locator('#queues').boundingBox())!;
    await served.db.query(`update queues set paused = true, paused_by = 'psql' where name = 'publish'`);
    await page.getByText('Queue publish is paused by psql').waitFor();
    await served.db.query(`update queues set paused = false`);
    await page.getByText('Queue publish is paused').waitFor({ state: 'detached' });
    assert.equal((await page.locator('#queues').boundingBox())!.y, top);
    assert.deepEqual(faults.filter(isFault), []);
    await context.close();
  });

  test('a schedule is written, run and deleted; a cron bomb is refused at once', async () => {
    const { page, faults, context } = await openPage();
    await go(page, 'schedules');
    await page.getByLabel('New schedule').fill('a/b?c #1');
    await page.getByRole('button', { name: 'Write it' }).click();
    await page.getByLabel('Cron').fill('0 0 1-9999999 * *');
    await page.getByLabel('Adds').fill('media.picture');
    await page.getByRole('button', { name: 'Save' }).click();
    assert.match(await page.getByRole('alert').innerText(), /a number of more than two digits/);
    await page.getByLabel('Cron').fill('30 3 * * *');
    await page.getByLabel('Time zone').fill('Asia/Kathmandu');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByText('Next five ticks').waitFor();
    assert.equal(await page.getByText('at 03:30:00').count(), 5);

    await page.getByRole('button', { name: 'Run now' }).click();
    await page.getByText('by hand').waitFor();
    await page.getByRole('button', { name: 'Disable' }).click();
    await page.getByRole('button', { name: 'Enable' }).waitFor();
    await page.getByText('Delete it').click();
    await page.getByRole('button', { name: /^Delete a/ }).click();
    await page.waitForURL(/schedules\?done=\d+$/);
    assert.doesNotMatch(await page.innerText('main'), /a\/b\?c #1\t/);
    // The answer 422 is in the console of the browser.
    assert.deepEqual(
      faults.filter((fault) => !fault.includes('422')),
      [],
    );
    await context.close();
  });

  test('a rejected message is corrected, and is a job then', async () => {
    const { page, context } = await openPage();
    await go(page, 'ways-in');
    await page.getByRole('link', { name: '1', exact: true }).click();
    await page.getByLabel('Key').fill('media.picture');
    await page.getByRole('button', { name: 'Submit it again' }).click();
    await page.getByText('tried again').waitFor();
    await page.getByRole('textbox', { name: 'Body' }).fill('{"a": 1}');
    await page.getByRole('button', { name: 'Submit it again' }).click();
    await page.waitForURL(/ways-in\?done=\d+$/);
    const { rows } = await served.db.query(`select kind from jobs where payload = '{"a": 1}'`);
    assert.deepEqual(rows, [{ kind: 'picture' }]);
    await context.close();
  });

  test('an incident that a provider causes is on the overview; once mended, it is tried and over', async () => {
    works = false;
    await served.db.query(`
      insert into incidents (dependency, code, message, kinds, checked_at, probe_at)
      values ('storage', 'storage_denied', '401 Unauthorized', '{media.picture}', now(), now() + interval '1 day')`);
    const id = await add(served.db, 'media', 'picture');
    const { page, context } = await openPage();
    await go(page, '');
    const trouble = page.getByLabel('Needs attention').locator('li', { hasText: 'storage fails' });
    assert.match(await trouble.innerText(), /storage_denied: 401 Unauthorized · \d+ jobs? waits?, of media\.picture/);
    works = true;
    await trouble.getByRole('button', { name: 'Try now' }).click();
    await reads(served.db, id, { status: 'completed' });
    await page.getByText('storage fails').waitFor({ state: 'detached' });
    await context.close();
  });

  test('what a job has made is shown by the dashboard, and nothing that it has not made', async () => {
    const id = await add(served.db, 'media', 'picture');
    await reads(served.db, id, { status: 'completed' });
    const picture = await served.get(`jobs/${id}/media/0`);
    assert.equal(picture.headers.get('content-type'), 'image/webp');
    assert.match(picture.headers.get('content-security-policy')!, /sandbox/);
    const bytes = Buffer.from(await picture.arrayBuffer());
    assert.equal((await sharp(bytes).metadata()).width, 60);
    const part = await served.get(`jobs/${id}/media/0`, undefined, { range: 'bytes=4-9' });
    assert.deepEqual([part.status, part.headers.get('content-range')], [206, `bytes 4-9/${bytes.length}`]);
    assert.deepEqual(Buffer.from(await part.arrayBuffer()), bytes.subarray(4, 10));
    assert.equal((await served.get(`jobs/${id}/media/0`, undefined, { range: 'bytes=99999-' })).status, 416);
    for (const path of [`jobs/${id}/media/1`, `jobs/${id}/media/..%2f..%2fx`, 'jobs/999999/media/0'])
      assert.equal((await served.get(path)).status, 404, path);
  });

  test('a template is shown with sample data in a frame in which nothing runs', async () => {
    const sly = `top.document.title='owned'`;
    await served.db.query(
      `insert into notification_templates (id, channel, subject, html) values ('sly', 'email', 'Hello', $1)`,
      [`<p>Hello {{name}}</p><script>${sly}</script><img src=x onerror="${sly}">`],
    );
    const { page, context } = await openPage();
    await go(page, 'template?id=sly');
    await page.getByLabel('Variables, as JSON').fill('{"name": "Ada"}');
    await page.getByRole('button', { name: 'Preview' }).click();
    const frame = page.frameLocator('iframe[sandbox]');
    assert.equal(await frame.locator('p').innerText(), 'Hello Ada');
    assert.notEqual(await page.title(), 'owned');
    const alone = await served.get(`template/html?id=sly&data=${encodeURIComponent('{"name": "Ada"}')}`);
    assert.match(alone.headers.get('content-security-policy')!, /^default-src 'none'.*sandbox$/);
    for (const data of ['{', '[]', '{}']) {
      const told = await served.get(`template?id=sly&data=${encodeURIComponent(data)}`);
      assert.match(await told.text(), /role="alert"/, data);
    }
    await context.close();
  });

  test('an alert is silenced, and told again', async () => {
    const { page, context } = await openPage();
    await go(page, 'alerts');
    const alert = page.locator('li', { hasText: 'select 1' });
    await alert.getByRole('button', { name: 'Silence' }).click();
    await page.getByText(/silenced until .* by ada/).waitFor();
    await alert.getByRole('button', { name: 'Tell again' }).click();
    await page.getByText('People are told again of').waitFor();
    await go(page, 'actions');
    for (const action of ['pause', 'set schedule', 'run schedule', 'resubmit', 'try incident', 'silence alert'])
      assert.match(await page.innerText('main'), new RegExp(`ada\\s+${action}`), action);
    await context.close();
  });

  test('trouble is seen while a page is open: a schedule that fails, a bridge that is off, a poison job', async () => {
    const { page, context } = await openPage();
    await go(page, '');
    await page.getByText('Needs attention').or(page.locator('.trouble')).first().waitFor();
    await served.db.query(`
      update workers set bridges = '[{"bridge": "rabbitmq", "connected": false, "since": "2026-01-01T00:00:00Z",
                                      "reason": "connect ECONNREFUSED"}]';
      update schedules set next_tick = now() - interval '1 hour', error = 'cron: it never comes' where enabled;
      insert into schedules (name, cron, queue, kind, error)
      values ('broken', '@hourly', 'media', 'picture', 'no such kind')`);
    const poison = await add(served.db, 'social', 'dies');
    await reads(served.db, poison, { status: 'failed' });
    for (const words of [
      'Bridge rabbitmq is not connected',
      'Schedule broken adds nothing',
      'dead letters of social.dies',
    ])
      await page.getByText(words).waitFor();
    await eventually(async () => assert.match(await page.innerText('.trouble'), /connect ECONNREFUSED/));
    await context.close();
  });
});
