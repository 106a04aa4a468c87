import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { z } from 'zod';
import { job } from '../../../worker/queue/job.ts';
import { operator, reader, serveDashboard, type Served } from '../../support/dashboard.ts';
import { add, reads } from '../../support/jobs.ts';

// What the settings of the dashboard do: behind a proxy, at another path, with payloads hidden. And large payloads.

const kind = job({ name: 'media.x', payload: z.record(z.string(), z.unknown()), run: async () => ({}) });

let hiding: Served;
let showing: Served;
before(async () => {
  [hiding, showing] = await Promise.all([
    serveDashboard({}, { QUEUES: 'media', DASHBOARD_PATH: '/ops/jobs', DASHBOARD_HIDE_PAYLOADS: 'true' }),
    serveDashboard(new Map([[kind.name, kind]]), { QUEUES: 'media', DASHBOARD_USER_HEADER: 'X-Forwarded-User' }),
  ]);
});
after(() => Promise.all([hiding, showing].map((served) => served?.close())));

const later = { run_at: new Date(Date.now() + 3_600_000) };
const text = async (served: Served, path: string, as?: string) => (await served.get(path, as)).text();

test('DASHBOARD_PATH: the pages are there and nowhere else, with links that work', async () => {
  const id = await add(hiding.db, 'media', 'x', later);
  for (const path of ['', 'jobs', `jobs/${id}`, 'schedules']) {
    const response = await hiding.get(path);
    assert.equal(response.status, 200, path);
    for (const [, link] of (await response.text()).matchAll(/<(?:link|script|a)[^>]+(?:href|src)="([^"#][^"]*)"/g)) {
      if (link!.startsWith('data:')) continue;
      const to = new URL(link!.replaceAll('&amp;', '&'), response.url);
      assert.match(to.pathname, /^\/ops\/jobs\//, link);
    }
  }
  assert.equal((await hiding.get('../../dashboard/')).status, 404);
  const slash = await hiding.get('../jobs');
  assert.deepEqual([slash.status, slash.headers.get('location')], [302, 'jobs/']);
  const moved = await hiding.post(`jobs/${id}/cancel`);
  assert.equal(moved.status, 303);
  assert.match(
    new URL(moved.headers.get('location')!, `${hiding.url}jobs/${id}/cancel`).pathname,
    /^\/ops\/jobs\/jobs\/\d+$/,
  );
});

test('DASHBOARD_HIDE_PAYLOADS: neither payloads nor results are shown or searched, also not by an action', async () => {
  const id = await add(hiding.db, 'media', 'x', {
    payload: { secret: 'canary-1' },
    result: JSON.stringify({ key: 'canary-2.webp' }),
    status: 'completed',
    completed_at: new Date(),
  });
  for (const path of [`jobs/${id}`, 'jobs', `jobs?q=id:${id}`, `jobs/${id}/payload`, `jobs/${id}/result`]) {
    const html = await text(hiding, path);
    assert.doesNotMatch(html, /canary/, path);
  }
  assert.equal((await hiding.get(`jobs/${id}/payload`)).status, 404);
  assert.equal((await hiding.get(`jobs/${id}/media/0`)).status, 404);
  const q = 'payload.secret:canary-1';
  assert.equal((await hiding.get(`jobs?q=${q}`)).status, 422);
  assert.equal((await hiding.get(`jobs/confirm?all=1&action=retry&q=${q}`)).status, 422);
  assert.equal((await hiding.post('jobs/act', { action: 'retry', subject: q })).status, 422);
  await reads(hiding.db, id, { status: 'completed' });
});

test('DASHBOARD_USER_HEADER: the name that the proxy gives is written down, not that of the password', async () => {
  const acts = async (headers: Record<string, string>) => {
    const id = await add(showing.db, 'media', 'x', later);
    const sent = { headers: { 'sec-fetch-site': 'same-origin', ...headers } };
    assert.equal((await showing.post(`jobs/${id}/cancel`, {}, sent)).status, 303);
    const { rows } = await showing.db.query(`select who from operator_actions where subject = $1`, [`id:${id}`]);
    return rows[0].who;
  };
  assert.equal(await acts({ 'x-forwarded-user': 'grace@example.com' }), 'grace@example.com');
  assert.equal(await acts({}), 'ada');
  assert.equal((await acts({ 'x-forwarded-user': 'x'.repeat(5_000) })).length, 100);
  // It is a name, and no right.
  assert.equal((await showing.post('queues/pause', { queue: 'media' }, { as: reader })).status, 403);
});

test('a payload of 1 MB: the page has its beginning, another one all of it, and it is inserted again', async () => {
  const payload = { s3Key: 'uploads/a.jpg', note: `${'é'.repeat(450_000)}end` };
  const id = await add(showing.db, 'media', 'x', { payload, ...later });
  const page = await text(showing, `jobs/${id}`);
  assert.ok(page.length < 100_000, `${page.length}`);
  assert.match(page, /The first 20 kB of .*All of it/s);
  assert.doesNotMatch(page, /<textarea/);
  const whole = await text(showing, `jobs/${id}/payload`, operator);
  assert.ok(whole.includes(payload.note));
  const again = await showing.post(`jobs/${id}/again`);
  assert.equal(again.status, 303, await again.text());
  const [, copy] = /jobs\/(\d+)\?done/.exec(again.headers.get('location')!)!;
  await reads(showing.db, Number(copy), { payload });
  const edited = await showing.post(`jobs/${id}/again`, { payload: JSON.stringify({ note: 'x'.repeat(5_000_000) }) });
  assert.equal(edited.status, 413);
});
