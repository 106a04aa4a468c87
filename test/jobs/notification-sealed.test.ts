import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Keyring } from '../../worker/base/seal.ts';
import { sealColumns } from '../../worker/queue/fleet/columns.ts';
import { reseal } from '../../worker/queue/fleet/reseal.ts';
import { searchQueue } from '../../worker/queue/fleet/sensitive.ts';
import { loadRegistry } from '../../worker/queue/registry.ts';
import { dump } from '../support/dump.ts';
import { add, reads } from '../support/jobs.ts';
import { silent } from '../support/log.ts';
import { createRig, type Rig } from '../support/worker.ts';

// Each kind of notification, inserted in the clear by plain SQL where SEAL_KEYS is set: the message has the values, and
// the database has none of them.

const canary = 'canary-93b2';
const phone = '+491512345678';
const secrets = [canary, phone];
const words = { title: `Code ${canary}`, body: `Your code is ${canary}`, data: { otp: canary } };
const event = { template_id: 'otp', payload: { code: canary } };
/** By kind: in the form of a message, and of an event. */
const payloads: Record<string, object[]> = {
  email: [
    { ...words, email: `${canary}@example.com` },
    { ...event, payload: { ...event.payload, email: `${canary}@example.com` } },
    { template: 'otp', templateData: { code: canary }, email: { to: `${canary}@example.com`, subject: canary } },
  ],
  sms: [{ ...words, phoneNumber: phone }],
  whatsapp: [{ ...words, phoneNumber: phone }],
  slack: [
    { ...words, slack: '#ops' },
    { type: 'slack', slack: { channel: '#ops', text: canary } },
  ],
  webhook: [
    { ...words, webhook: { url: `https://shop.example/${canary}`, secret: `whsec_${canary}` } },
    { ...event, payload: { ...event.payload, webhook_url: `https://shop.example/${canary}` } },
  ],
  push: [
    { ...words, fcmToken: `${canary}-token`, link: `https://shop.example/${canary}` },
    { ...words, push: { token: `${canary}-token` } },
  ],
};

let rig: Rig;
let dir: string;
let SEAL_KEYS: string;
before(async () => {
  [rig, dir] = await Promise.all([createRig(), mkdtemp(join(tmpdir(), 'sealed-'))]);
  SEAL_KEYS = `k1:${randomBytes(32).toString('base64')}`;
  await rig.worker(await loadRegistry(), { QUEUES: 'notification', DATA_DIR: dir, SEAL_KEYS });
});
after(async () => {
  await rig.close();
  await rm(dir, { recursive: true });
});

test('every kind but batch is here', async () => {
  const kinds = await loadRegistry();
  const of = [...kinds.keys()].filter((name) => name.startsWith('notification.')).map((name) => name.split('.')[1]!);
  assert.deepEqual(of.filter((kind) => kind !== 'batch').toSorted(), Object.keys(payloads).toSorted());
});

for (const [kind, all] of Object.entries(payloads))
  test(`notification.${kind}`, async () => {
    for (const payload of all) {
      const id = await add(rig.db, 'notification', kind, { payload });
      await reads(rig.db, id, { status: 'completed', error_code: null });
    }
    const files = await readdir(join(dir, 'outbox', kind));
    const sent = await Promise.all(files.map((name) => readFile(join(dir, 'outbox', kind, name), 'utf8')));
    assert.ok(sent.some((text) => text.includes(canary)));
    const rows = await dump(rig.db);
    assert.ok(rows.some((row) => row.includes('sealed:k1:')));
    assert.deepEqual(
      rows.filter((row) => secrets.some((secret) => row.includes(secret))),
      [],
    );
  });

test('tokens of devices and what an API wrote are sealed, and are read', async () => {
  await rig.db.query(
    `insert into push_tokens (token_hash, user_id, token)
     select encode(sha256(convert_to(t, 'UTF8')), 'hex'), 'ada', t from unnest($1::text[]) t`,
    [[`${canary}-a`, `${canary}-b`]],
  );
  await rig.db.query(
    `insert into notifications (id, message_id, channel, payload)
     values ('n1', 'm1', 'email', $1), ('n2', 'm2', 'email', $1)`,
    [JSON.stringify({ email: `${canary}@example.com`, code: canary })],
  );
  const keyring = new Keyring(SEAL_KEYS);
  await sealColumns(rig.db, keyring);
  assert.deepEqual(
    (await dump(rig.db)).filter((row) => row.includes(canary)),
    [],
  );

  // A damaged one keeps neither the user's other devices nor other users.
  await rig.db.query(
    `update push_tokens set token = (select token from push_tokens order by token_hash limit 1)
      where token_hash = (select max(token_hash) from push_tokens)`,
  );
  const push = await add(rig.db, 'notification', 'push', { payload: { userId: 'ada', title: 'x' } });
  const mail = await add(rig.db, 'notification', 'email', { payload: { notification_id: 'n1', template_id: 'otp' } });
  await reads(rig.db, mail, { status: 'completed' });
  assert.equal((await reads(rig.db, push, { status: 'completed' }))['result'].successCount, 1);

  const renewed = new Keyring(`k2:${randomBytes(32).toString('base64')},${SEAL_KEYS}`);
  await reseal(rig.db, await loadRegistry(), renewed, () => {});
  const { rows } = await rig.db.query<{ sealed: string }>(
    `select token as sealed from push_tokens where user_id = 'ada' union all
     select payload #>> '{}' from notifications where payload is not null`,
  );
  const kids = rows.map(({ sealed }) => sealed.split(':')[1]!);
  assert.deepEqual([kids.length, kids.filter((kid) => kid === 'k2').length], [4, 3]);
});

test('what is nested too deeply to be sealed is removed', async () => {
  const data = `${'{"a":'.repeat(4_900)}"${canary}"${'}'.repeat(4_900)}`;
  const payload = `{"email": "a@example.com", "title": "x", "body": "x", "data": ${data}}`;
  const { rows } = await rig.db.query<{ id: number }>(
    `insert into notification_jobs (kind, payload) values ('email', $1) returning id`,
    [payload],
  );
  await reads(rig.db, rows[0]!.id, { status: 'failed', error_code: 'invalid_payload' });
  const keyring = new Keyring(SEAL_KEYS);
  await searchQueue('notification', { db: rig.db, registry: await loadRegistry(), keyring, log: silent }, true);
  const left = (await dump(rig.db)).filter((row) => row.includes(canary));
  assert.deepEqual(left, []);
});
