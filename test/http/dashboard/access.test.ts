import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Hono } from 'hono';
import { loadConfig } from '../../../worker/base/config/config.ts';
import { operatorOf, type Env } from '../../../worker/http/dashboard/access.ts';
import { dashboard } from '../../../worker/http/dashboard/dashboard.ts';
import { operator, reader, serveDashboard, type Served } from '../../support/dashboard.ts';
import { silent } from '../../support/log.ts';

// Who may open the dashboard, and who may change something.

let served: Served;
before(async () => {
  served = await serveDashboard({}, { QUEUES: 'media' });
});
after(() => served.close());

test('without a password there is no dashboard', async () => {
  const app = { config: loadConfig({}), log: silent } as never;
  const { http } = dashboard(app, '', {} as never);
  for (const path of ['/dashboard', '/dashboard/', '/dashboard/jobs', '/dashboard/assets/dashboard.css'])
    assert.equal((await http.request(path)).status, 404, path);
});

test('only the two passwords open it, whatever the name', async () => {
  for (const as of [operator, reader, `x:${operator.split(':')[1]!}`])
    assert.equal((await served.get('jobs', as)).status, 200, as);
  for (const as of [null, 'ada', 'ada:', ':', 'ada:correct', `${operator}x`, `ada: ${operator.split(':')[1]!}`]) {
    const refused = await served.get('jobs', as);
    assert.equal(refused.status, 401);
    assert.match(refused.headers.get('www-authenticate')!, /^Basic realm=/);
    assert.doesNotMatch(await refused.text(), /<main/);
  }
  assert.equal((await served.get('assets/dashboard.css', null)).status, 401);
});

test('a setting that is missing is no password that is empty', async () => {
  const config = loadConfig({ DASHBOARD_READONLY_PASSWORD: 'only looking' });
  const { http, close } = dashboard({ config, log: silent } as never, served.db.url, {} as never);
  const authorization = `Basic ${Buffer.from('ada:').toString('base64')}`;
  assert.equal((await http.request('/dashboard/jobs', { headers: { authorization } })).status, 401);
  await close();
});

test('the path without a slash leads to the pages, and links are relative', async () => {
  const response = await served.get('../dashboard');
  assert.equal(response.status, 302);
  assert.equal(response.headers.get('location'), 'dashboard/');
  const html = await (await served.get('jobs')).text();
  for (const [, link] of html.matchAll(/(?:href|src)="([^"]*)"/g)) assert.match(link!, /^(?!\/|http)/);
});

test('another page of ours and nothing else may post', async () => {
  const post = async (headers: Record<string, string>) => (await served.post('nothing', {}, { headers })).status;
  const { host } = new URL(served.url);
  for (const headers of [
    { 'sec-fetch-site': 'same-origin' },
    { 'sec-fetch-site': 'none' },
    { origin: `http://${host}` },
  ])
    assert.equal(await post(headers), 404, JSON.stringify(headers));
  for (const headers of [
    {},
    { 'sec-fetch-site': 'cross-site', origin: `http://${host}` },
    { 'sec-fetch-site': 'same-site' },
    { origin: 'http://evil.example' },
    { origin: `http://evil.example/${host}` },
    { origin: 'null' },
  ] as Record<string, string>[])
    assert.equal(await post(headers), 403, JSON.stringify(headers));
});

test('a handler that asks for an operator refuses who may only read', async () => {
  const http = new Hono<Env>();
  http.post('/:who', (context) => {
    context.set('user', { name: 'eve', operator: context.req.param('who') === 'operator' });
    return context.text(operatorOf(context).name);
  });
  assert.equal((await http.request('/operator', { method: 'POST' })).status, 200);
  assert.equal((await http.request('/reader', { method: 'POST' })).status, 403);
});

test('what is answered is kept by no cache and shown in no frame, and runs no script but ours', async () => {
  for (const path of ['jobs', 'nothing']) {
    const { headers } = await served.get(path);
    assert.equal(headers.get('cache-control'), 'private, no-store');
    assert.equal(headers.get('x-frame-options'), 'DENY');
    assert.match(headers.get('content-security-policy')!, /default-src 'none'; script-src 'self';/);
    assert.doesNotMatch(headers.get('content-security-policy')!, /unsafe/);
  }
});

test('many wrong passwords are answered slowly, and then not compared', async () => {
  const other = await serveDashboard({}, { QUEUES: 'media' });
  try {
    const statuses: number[] = [];
    for (let round = 0; round < 3; round++)
      statuses.push(
        ...(await Promise.all(Array.from({ length: 10 }, () => other.get('jobs', 'ada:guess guess')))).map(
          ({ status }) => status,
        ),
      );
    assert.ok(statuses.includes(429), statuses.join());
    const late = await other.get('jobs', operator);
    assert.equal(late.status, 429);
    assert.equal(late.headers.get('retry-after'), '60');
  } finally {
    await other.close();
  }
});
