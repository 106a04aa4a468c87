import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { loadConfig } from '../../worker/base/config/config.ts';
import { unsubscribing } from '../../worker/http/unsubscribe.ts';
import { loadRegistry } from '../../worker/queue/registry.ts';
import { add, reads } from '../support/jobs.ts';
import { silent } from '../support/log.ts';
import { createRig, type Rig } from '../support/worker.ts';

// A mail of a list, its link, and one click on it.

let rig: Rig;
let dir: string;
let http: ReturnType<typeof unsubscribing>;
const publicUrl = 'https://jobs.example.com';

before(async () => {
  [rig, dir] = await Promise.all([createRig(), mkdtemp(join(tmpdir(), 'unsubscribe-'))]);
  const env = { QUEUES: 'notification', DATA_DIR: dir, PUBLIC_URL: publicUrl };
  http = unsubscribing((await rig.worker(await loadRegistry(), env)).app);
});
after(async () => {
  await rig.close();
  await rm(dir, { recursive: true });
});

async function send(email: string, list?: string) {
  const id = await add(rig.db, 'notification', 'email', {
    payload: { email, title: 'x', body: 'y', ...(list ? { list } : {}) },
  });
  return (await reads(rig.db, id, { status: 'completed' })).result;
}

/** Sends a mail, and reads the link in it. */
async function linkOf(email: string, list: string): Promise<string> {
  const { delivery_id } = await send(email, list);
  const mail = await readFile(join(dir, 'outbox/email', `${delivery_id}.eml`), 'utf8');
  assert.match(mail, /^List-Unsubscribe-Post: List-Unsubscribe=One-Click\r$/m);
  const [, url] = /^List-Unsubscribe:\s+<(https:[^>]+)>/m.exec(mail)!;
  return url!.slice(publicUrl.length);
}

const suppressions = async () => (await rig.db.query('select * from suppressions')).rows;
const click = (path: string) =>
  http.request(path, { method: 'POST', body: new URLSearchParams({ 'List-Unsubscribe': 'One-Click' }) });

test('one click ends the mails of that list to that recipient, and of no other', async () => {
  const path = await linkOf('Ada@example.com', 'offers & news');
  assert.doesNotMatch(decodeURIComponent(path), /ada|example/i);
  const token = path.split('/').at(-1)!;
  assert.doesNotMatch(Buffer.from(token.split('.')[0]!, 'base64url').toString(), /ada/i);

  const asked = await http.request(path);
  const page = await asked.text();
  assert.equal(asked.status, 200);
  assert.match(page, /<form method="post">/);
  assert.match(page, /offers &amp; news/);
  assert.match(asked.headers.get('content-security-policy')!, /default-src 'none'/);
  assert.deepEqual(await suppressions(), []);

  for (let clicks = 0; clicks < 2; clicks++) assert.equal((await click(path)).status, 200);
  assert.equal((await suppressions()).length, 1);
  assert.equal((await send('ada@example.com', 'offers & news')).skipped, 'suppressed');
  for (const [email, list] of [
    ['ada@example.com', 'other'],
    ['ada@example.com', undefined],
    ['bob@example.com', 'offers & news'],
  ] as const)
    assert.equal((await send(email, list)).provider, 'outbox');
});

test('a token that is none of ours is 404, and changes nothing', async () => {
  const token = (await linkOf('eve@example.com', 'a')).split('/').at(-1)!;
  const other = (await linkOf('fay@example.com', 'b')).split('/').at(-1)!;
  const [hash, list, proof] = token.split('.');
  const [otherHash, otherList] = other.split('.');
  const earlier = await suppressions();
  for (const wrong of [
    'x',
    '..',
    `${otherHash}.${list}.${proof}`,
    `${hash}.${otherList}.${proof}`,
    `${hash}.${list}.`,
    `${hash}.${list}.${'A'.repeat(43)}`,
    `${hash}..${proof}`,
    `${token}.x`,
    'A'.repeat(5_000),
  ])
    for (const method of ['GET', 'POST'])
      assert.equal((await http.request(`/unsubscribe/${wrong}`, { method })).status, 404, `${method} ${wrong}`);
  assert.deepEqual(await suppressions(), earlier);
});

test('a mail of no list has no link, and without PUBLIC_URL there are none', async () => {
  const { delivery_id } = await send('ada@example.com');
  assert.doesNotMatch(await readFile(join(dir, 'outbox/email', `${delivery_id}.eml`), 'utf8'), /List-Unsubscribe/);
  const path = await linkOf('eve@example.com', 'a');
  for (const env of [{}, { PUBLIC_URL: publicUrl, NODE_ENV: 'production' }]) {
    const closed = unsubscribing({ db: rig.db, config: loadConfig(env), log: silent });
    assert.equal((await closed.request(path)).status, 404);
  }
});
