import assert from 'node:assert/strict';
import { after, before, beforeEach, suite, test } from 'node:test';
import { createApp, type App } from '../../worker/app.ts';
import { loadConfig } from '../../worker/base/config/config.ts';
import { connecting } from '../../worker/http/connect.ts';
import { beginConnect } from '../../worker/jobs/social/account/connect.ts';
import { accessTo } from '../../worker/jobs/social/account/account.ts';
import { platforms, type Platform } from '../../worker/providers/social/social.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { silent } from '../support/log.ts';
import { addAccount } from '../support/social-account.ts';
import { samples, startFakes, type Fakes } from '../support/social.ts';

// The owner of an account follows a link, says yes to a platform, and comes back with a code.

let db: TestDatabase;
let fakes: Fakes;
let app: App;
let http: ReturnType<typeof connecting>;
let env: Record<string, string>;

before(async () => {
  [db, fakes] = await Promise.all([createDatabase(), startFakes()]);
  const redirects = platforms.map((name) => [
    `${name.toUpperCase()}_REDIRECT_URI`,
    `https://jobs.example.com/connect/${name}`,
  ]);
  env = { ...fakes.env, ...Object.fromEntries(redirects), NODE_ENV: 'test' };
  app = createApp(loadConfig(env), db.url, silent);
  http = connecting(app);
});
beforeEach(() => db.query(`delete from social_accounts`));
after(async () => {
  await app.close();
  await fakes.close();
  await db.drop();
});

const come = async (platform: Platform, query: URLSearchParams) => {
  const answer = await http.request(`/connect/${platform}?${query.toString()}`);
  return { status: answer.status, page: await answer.text(), headers: answer.headers };
};
const linkOf = async (platform: Platform, account?: number) => (await beginConnect(app, platform, account)).url;
const accounts = async () =>
  (await db.query(`select id, platform, external_id, name, access_token from social_accounts`)).rows;

for (const platform of platforms)
  suite(platform, () => {
    test('an account is connected, and its sealed token is one that the platform accepts', async () => {
      const { consents, valid } = fakes[platform];
      const { status, page, headers } = await come(platform, consents.yes(await linkOf(platform)));
      assert.equal(status, 200, page);
      assert.match(headers.get('content-security-policy')!, /default-src 'none'/);
      const [row] = await accounts();
      assert.equal(row.external_id, samples[platform].external_id);
      assert.match(row.access_token, /^sealed:/);
      const { token } = await accessTo(app, row.id, { signal: new AbortController().signal });
      assert.equal(token, valid.token);
    });

    test('a state that is forged, of another platform, or used before connects nothing', async () => {
      const { consents } = fakes[platform];
      const link = await linkOf(platform);
      const forged = consents.yes(link);
      forged.set('state', 'A'.repeat(43));
      assert.match((await come(platform, forged)).page, /not known, or was used already/);
      forged.delete('state');
      assert.equal((await come(platform, forged)).status, 400);
      const other = platforms.find((each) => each !== platform)!;
      assert.equal((await come(other, fakes[other].consents.yes(link))).status, 400);
      assert.deepEqual(await accounts(), []);

      assert.equal((await come(platform, consents.yes(link))).status, 200);
      await db.query(`delete from social_accounts`);
      assert.equal((await come(platform, consents.yes(link))).status, 400);
      assert.deepEqual(await accounts(), []);
    });

    test('a link that expired, a denied consent, and a code that is not good connect nothing', async () => {
      const { consents } = fakes[platform];
      const late = await linkOf(platform);
      await db.query(`update social_connects set expires_at = now()`);
      assert.match((await come(platform, consents.yes(late))).page, /has expired/);
      const denied = await linkOf(platform);
      assert.match((await come(platform, consents.no(denied))).page, /was told no/);
      assert.match((await come(platform, consents.yes(denied))).page, /used already/);
      const wrong = consents.yes(await linkOf(platform));
      wrong.set('code', '<script>');
      const { status, page } = await come(platform, wrong);
      assert.equal(status, 400);
      assert.doesNotMatch(page, /<script>/);
      assert.deepEqual(await accounts(), []);
    });

    test('a link for one account connects no other', async () => {
      const { consents } = fakes[platform];
      const id = await addAccount(db, platform, { external_id: 'ours', name: 'Our shop' });
      const { status, page } = await come(platform, consents.yes(await linkOf(platform, id)));
      assert.equal(status, 400);
      assert.match(page, /The link is for the account Our shop, and you said yes as .+\. Nothing was connected\./);
      assert.deepEqual(
        (await accounts()).map(({ external_id }) => external_id),
        ['ours'],
      );
      consents.as = 'ours';
      assert.equal((await come(platform, consents.yes(await linkOf(platform, id)))).status, 200);
      consents.as = samples[platform].external_id;
    });
  });

test('PKCE: YouTube gives no token for a code whose verifier is of another link', async () => {
  const { consents } = fakes.youtube;
  const stolen = consents.yes(await linkOf('youtube'));
  stolen.set('state', new URL(await linkOf('youtube')).searchParams.get('state')!);
  const { status, page } = await come('youtube', stolen);
  assert.equal(status, 400);
  assert.match(page, /invalid_grant/);
});

test('without an app, a redirect URI or SEAL_KEYS the address is 404, and no link is made', async () => {
  for (const missing of ['YOUTUBE_REDIRECT_URI', 'SEAL_KEYS', 'YOUTUBE_CLIENT_ID']) {
    const without = {
      ...env,
      [missing]: '',
      ...(missing === 'YOUTUBE_CLIENT_ID' ? { YOUTUBE_CLIENT_SECRET: '' } : {}),
    };
    const config = loadConfig(without);
    const bare = createApp(config, db.url, silent);
    const answer = await connecting(bare).request('/connect/youtube?state=a&code=b');
    assert.equal(answer.status, 404, missing);
    await assert.rejects(beginConnect(bare, 'youtube'), { name: 'UsageError' });
    await bare.close();
  }
});
