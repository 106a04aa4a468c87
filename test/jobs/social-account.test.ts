import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { createApp, type App } from '../../worker/app.ts';
import { loadConfig } from '../../worker/base/config/config.ts';
import { sealColumns } from '../../worker/queue/fleet/columns.ts';
import { accessTo, renewNow, withAccess } from '../../worker/jobs/social/account/account.ts';
import { ReconnectNeeded, TokenRefused } from '../../worker/providers/social/errors.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { silent } from '../support/log.ts';
import { addAccount, sealEnv } from '../support/social-account.ts';
import { startVendor, type Asked, type Vendor } from '../support/vendor.ts';

// The tokens of accounts: sealed, renewed by one worker at a time, and what becomes of an account that is refused.

let db: TestDatabase;
let tokens: Vendor;
const apps: App[] = [];
let round = 1;
const { signal } = new AbortController();

/** A token endpoint that rotates, as TikTok's does: the old refresh token is void once a new one was given. */
function answer({ body }: Asked) {
  const given = new URLSearchParams(body).get('refresh_token');
  if (given !== `refresh-${round}`) return { status: 400, body: JSON.stringify({ error: 'invalid_grant' }) };
  round++;
  const fresh = { access_token: `access-${round}`, refresh_token: `refresh-${round}`, expires_in: 86_400 };
  return { status: 200, body: JSON.stringify(fresh) };
}

before(async () => {
  db = await createDatabase();
  tokens = await startVendor(answer);
});
afterEach(async () => {
  await db.query(`delete from social_accounts; delete from social_limits`);
  tokens.heal();
  tokens.taken.length = 0;
  round = 1;
});
after(async () => {
  for (const app of apps) await app.close();
  await tokens.close();
  await db.drop();
});

function appOf(env: Record<string, string> = {}): App {
  const app = { TIKTOK_CLIENT_KEY: 'key', TIKTOK_CLIENT_SECRET: 'client-secret', TIKTOK_API_URL: tokens.url };
  const made = createApp(loadConfig({ ...sealEnv, ...app, NODE_ENV: 'test', ...env }), db.url, silent);
  apps.push(made);
  return made;
}

const rowOf = async (id: number) =>
  (await db.query(`select status, status_reason, access_token from social_accounts where id = $1`, [id])).rows[0];

test('20 workers that find a token about to expire renew it once, and all go on with the new one', async () => {
  const id = await addAccount(db, 'tiktok', { lives: 1 });
  const four = [appOf(), appOf(), appOf(), appOf()];
  const found = await Promise.all(
    Array.from({ length: 20 }, (_, n) => accessTo(four[n % 4]!, id, { signal, forMs: 60_000 })),
  );
  assert.deepEqual(new Set(found.map(({ token }) => token)), new Set(['access-2']));
  assert.equal(tokens.taken.length, 1);
});

test('a token that is refused in the middle of a work is renewed, and the work goes on', async () => {
  const id = await addAccount(db, 'tiktok');
  const seen: string[] = [];
  const result = await withAccess(appOf(), id, { signal }, async ({ token }) => {
    seen.push(token);
    if (token === 'access-1') throw new TokenRefused('TikTok answered 401');
    return 'done';
  });
  assert.deepEqual([result, seen], ['done', ['access-1', 'access-2']]);
});

test('tokens stand sealed in the row, a token in the clear is refused, and reseal takes them along', async () => {
  const id = await addAccount(db, 'tiktok');
  const { access_token } = await rowOf(id);
  assert.match(access_token, /^sealed:k1:/);
  await assert.rejects(db.query(`update social_accounts set access_token = 'clear'`), /violates check constraint/);
  const both = { SEAL_KEYS: `k2:${'A'.repeat(43)}=,${sealEnv.SEAL_KEYS}` };
  assert.equal(await sealColumns(db, loadConfig(both).keyring!, true), 2);
  assert.match((await rowOf(id)).access_token, /^sealed:k2:/);
  assert.equal((await accessTo(appOf(both), id, { signal })).token, 'access-1');
});

test('an account whose refresh token is void waits for its owner, and somebody is told once', async () => {
  const id = await addAccount(db, 'tiktok', { refresh_token: 'revoked' });
  const { rows } = await db.query(`insert into social_posts (account_id, content) values ($1, '{}') returning job_id`, [
    id,
  ]);
  await db.query(`update social_jobs set run_at = now() + interval '5 h'`);
  const app = appOf({ SOCIAL_TELL: 'ops@shop.example' });
  for (const _ of [1, 2])
    await assert.rejects(renewNow(app, id, signal), {
      name: 'Snooze',
      message: /must be connected again: .*invalid_grant/,
    });
  assert.equal((await rowOf(id)).status, 'needs_reconnect');
  const told = await db.query(`select payload from notification_jobs`);
  assert.equal(told.rows.length, 1);
  assert.equal(told.rows[0].payload.email, 'ops@shop.example');

  round = 7;
  await addAccount(db, 'tiktok', { refresh_token: 'refresh-7' });
  assert.equal((await rowOf(id)).status, 'active');
  const due = await db.query(`select run_at <= now() as due from social_jobs where id = $1`, [rows[0].job_id]);
  assert.deepEqual(due.rows, [{ due: true }]);
});

test('a lost permission, a wrong secret of the app, and a service that is down are three things', async () => {
  const id = await addAccount(db, 'tiktok');
  const app = appOf();
  tokens.fail({ status: 401, body: JSON.stringify({ error: 'invalid_client' }) }, 1);
  await assert.rejects(renewNow(app, id, signal), { name: 'Snooze', message: /check TIKTOK_CLIENT_KEY/ });
  // All accounts of the app wait, without another request.
  const { rows } = await db.query(`select key from social_limits`);
  assert.deepEqual(rows, [{ key: 'app tiktok' }]);
  const asked = tokens.taken.length;
  const other = await addAccount(db, 'tiktok', { external_id: 'other', lives: 1 });
  await assert.rejects(accessTo(app, other, { signal, forMs: 60_000 }), { name: 'Snooze', message: /CLIENT_KEY/ });
  assert.equal(tokens.taken.length, asked);
  tokens.fail({ status: 503 }, 1);
  await assert.rejects(renewNow(app, id, signal), { name: 'RetryableError', code: 'social_unavailable' });
  tokens.fail('lost', 1);
  await assert.rejects(renewNow(app, id, signal), { name: 'RetryableError' });
  round = 1;
  assert.equal((await rowOf(id)).status, 'active');
  const refuse = async () => {
    throw new ReconnectNeeded('scope_not_authorized');
  };
  await assert.rejects(withAccess(app, id, { signal }, refuse), { name: 'Snooze' });
  assert.equal((await rowOf(id)).status, 'needs_reconnect');
  await assert.rejects(renewNow(appOf({ TIKTOK_CLIENT_KEY: '', TIKTOK_CLIENT_SECRET: '' }), 4_711, signal), {
    code: 'social_account_not_found',
  });
});
