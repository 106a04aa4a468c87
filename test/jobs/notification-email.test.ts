import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, suite, test } from 'node:test';
import { loadRegistry } from '../../worker/queue/registry.ts';
import { eventually } from '../support/eventually.ts';
import { add, reads, type Row } from '../support/jobs.ts';
import { startSmtp, type FakeSmtp } from '../support/smtp.ts';
import { createRig, type Rig } from '../support/worker.ts';

// notification.email end to end: a row, a worker, a real SMTP server, and the ledger of deliveries.

let rig: Rig;
let smtp: FakeSmtp;
let dir: string;

const sql = async (text: string, values: unknown[] = []) => (await rig.db.query<Row>(text, values)).rows;
const send = (payload: object, columns: Record<string, unknown> = {}) =>
  add(rig.db, 'notification', 'email', { payload, ...columns });
const ledger = async (message_id: string) => {
  const [row] = await sql(
    `select n.status as notification, n.target_user_id, n.template_id, n.priority, n.metadata, d.status, d.provider,
            d.provider_message_id, d.error_code, d.recipient_hash, d.id::text
       from notifications n join notification_deliveries d on d.notification_id = n.id where n.message_id = $1`,
    [message_id],
  );
  return row!;
};
const mailTo = (address: string) => smtp.mails.filter(({ to }) => to.includes(address));

before(async () => {
  [rig, smtp, dir] = await Promise.all([createRig(), startSmtp(), mkdtemp(join(tmpdir(), 'email-'))]);
  await rig.db.query(`update queues set backoff_ms = 20 where name = 'notification'`);
  await rig.worker(await loadRegistry(), {
    QUEUES: 'notification',
    DATA_DIR: dir,
    SMTP_URL: smtp.url,
    SMTP_TIMEOUT: '5000',
    EMAIL_FROM: 'Shop <hello@shop.example>',
    INCIDENT_CHECK_INTERVAL: '200',
  });
});
beforeEach(() => smtp.heal());
after(async () => {
  await rig.close();
  await Promise.all([smtp.close(), rm(dir, { recursive: true })]);
});

suite('the JSON of each seed, as it stands', () => {
  test('the messenger: a title and a body', async () => {
    const id = await send({
      type: 'email',
      userId: 'user-uuid',
      email: 'messenger@example.com',
      title: 'Password Reset',
      body: 'Click the link below to reset your password',
      data: { resetLink: 'https://app.supmessenger.com/reset/token123', expiresIn: '1 hour' },
    });
    const { result } = await reads(rig.db, id, { status: 'completed', attempt: 1, error_code: null });
    const [mail] = mailTo('messenger@example.com');
    assert.equal(mail!.from, 'hello@shop.example');
    assert.match(mail!.source, /^From: Shop <hello@shop\.example>\r$/m);
    assert.match(mail!.source, /^Subject: Password Reset\r$/m);
    assert.match(mail!.source, /Click the link below/);
    assert.match(mail!.source, /^Reset link: https:\/\/app\.supmessenger\.com\/reset\/token123\r$/m);
    assert.match(mail!.source, /^Content-Type: text\/html/m);
    const delivery = await ledger(`job:${id}`);
    assert.deepEqual(
      [delivery['notification'], delivery['status'], delivery['provider'], delivery['target_user_id']],
      ['sent', 'sent', 'smtp', 'user-uuid'],
    );
    assert.match(mail!.source, new RegExp(`^Message-ID: <${delivery.id}@shop\\.example>\r$`, 'm'));
    assert.deepEqual(result, {
      delivery_id: delivery.id,
      provider: 'smtp',
      provider_message_id: delivery['provider_message_id'],
    });
    assert.doesNotMatch(JSON.stringify(delivery), /messenger@/);
  });

  test('NEXUS: a template and its data', async () => {
    const id = await send({
      type: 'email',
      template: 'email-welcome',
      templateData: { name: 'John Doe', dashboardUrl: 'https://nexus.com/dashboard' },
      email: { to: 'nexus@example.com', subject: 'Welcome to NEXUS' },
    });
    await reads(rig.db, id, { status: 'completed', attempt: 1 });
    const [mail] = mailTo('nexus@example.com');
    assert.match(mail!.source, /^Subject: Welcome to NEXUS\r$/m);
    assert.match(mail!.source, /^Get started: https:\/\/nexus\.com\/dashboard\r$/m);
  });

  test('the notification system: an event', async () => {
    const event = {
      notification_id: 'notif_abc123',
      message_id: 'msg_unique_id',
      target_user_id: 'user_123',
      channel: 'email',
      template_id: 'tmpl_welcome',
      payload: { user_name: 'John Doe', email: 'event@example.com' },
      priority: 'normal',
      metadata: { source: 'signup_flow' },
    };
    await reads(rig.db, await send(event), { status: 'completed', attempt: 1 });
    assert.match(mailTo('event@example.com')[0]!.source, /^Subject: Welcome, John Doe!\r$/m);
    const { rows } = await rig.db.query(`select id, status, template_id, metadata from notifications
                                          where message_id = 'msg_unique_id'`);
    const { template_id, metadata } = event;
    assert.deepEqual(rows, [{ id: 'notif_abc123', status: 'sent', template_id, metadata }]);
    const { result } = await reads(rig.db, await send(event), { status: 'completed' });
    assert.equal(result.repeated, true);
  });

  test('what is missing is named', async () => {
    const id = await send({ type: 'email', title: 'x', body: 'y' });
    const { error } = await reads(rig.db, id, { status: 'failed', error_code: 'invalid_payload' });
    assert.equal(error, 'payload.email: is missing: the address to send to');
    const other = await send({ type: 'sms', email: 'a@example.com', title: 'x', body: 'y' });
    assert.equal(
      (await reads(rig.db, other, { status: 'failed', error_code: 'invalid_payload' }))['error'],
      'payload.type: is sms, not email',
    );
  });
});

test('a row of notification_templates goes before the box, in the language that is nearest', async () => {
  await sql(`insert into notification_templates (id, channel, locale, subject, html)
             values ('welcome', 'email', 'de', 'Hallo {{user_name}}', '<p>Willkommen, {{user_name}}!</p>'),
                    ('welcome', 'email', 'de-AT', 'Servus {{user_name}}', '<p>Servus!</p>')`);
  for (const [locale, subject] of [
    ['de-AT', 'Servus Ada'],
    ['de_at', 'Servus Ada'],
    ['de-CH', 'Hallo Ada'],
    ['fr', 'Welcome, Ada!'],
  ]) {
    const email = `${locale!.toLowerCase()}@example.com`;
    const payload = { template: 'tmpl_welcome', email, locale, data: { user_name: 'Ada' } };
    await reads(rig.db, await send(payload), { status: 'completed' });
    assert.match(mailTo(email)[0]!.source, new RegExp(`^Subject: ${subject}\r$`, 'm'));
  }
  assert.match(mailTo('de-ch@example.com')[0]!.source, /^Willkommen, Ada!\r$/m);
  const id = await send({ template: 'welcome', email: 'a@example.com', locale: 'de', data: {} });
  const { error } = await reads(rig.db, id, { status: 'failed', error_code: 'missing_variable' });
  assert.equal(error, 'Template welcome needs the variable user_name');
  await reads(rig.db, await send({ template: 'none', email: 'a@example.com' }), {
    status: 'failed',
    error_code: 'template_not_found',
  });
});

suite('a message_id is sent once', () => {
  const hello = { message_id: 'msg_1', email: 'once@example.com', title: 'Hello', body: 'World' };

  test('a second job with the same content is a no-op that says so', async () => {
    await reads(rig.db, await send(hello), { status: 'completed' });
    const { result } = await reads(rig.db, await send(hello), { status: 'completed', attempt: 1 });
    assert.equal(result.repeated, true);
    assert.equal(result.delivery_id, (await ledger('msg_1')).id);
    assert.equal(mailTo('once@example.com').length, 1);
  });

  test('another content, or another recipient, is refused', async () => {
    for (const change of [{ body: 'Moon' }, { email: 'other@example.com' }]) {
      const id = await send({ ...hello, ...change });
      await reads(rig.db, id, { status: 'failed', error_code: 'message_id_reused' });
    }
    assert.deepEqual(mailTo('other@example.com'), []);
    assert.equal((await ledger('msg_1'))['notification'], 'sent');
  });

  test('many jobs at once send one mail', async () => {
    const ids = await Promise.all(
      Array.from({ length: 8 }, () => send({ ...hello, message_id: 'msg_8', email: 'eight@example.com' })),
    );
    for (const id of ids) await reads(rig.db, id, { status: 'completed' }, 20_000);
    assert.equal(mailTo('eight@example.com').length, 1);
  });

  test('the row that the API made is used, and fills in what the job lacks', async () => {
    await sql(
      `insert into notifications (id, message_id, target_user_id, channel, payload, priority, metadata)
       values ('notif_1', 'msg_api', 'user_7', 'email', '{"email": "api@example.com"}', 'high', '{"source": "x"}')`,
    );
    const id = await send({ notification_id: 'notif_1', title: 'From the API', body: 'Hello' });
    await reads(rig.db, id, { status: 'completed' });
    assert.equal(mailTo('api@example.com').length, 1);
    const row = await ledger('msg_api');
    assert.deepEqual(
      [row['notification'], row['target_user_id'], row['priority'], row['metadata']],
      ['sent', 'user_7', 'high', { source: 'x' }],
    );
  });
});

suite('when the server refuses', () => {
  test('an unknown recipient is a permanent error, which a person can correct', async () => {
    smtp.fail('recipient', { code: 550, text: '5.1.1 <typo@example.com> unknown' });
    const id = await send({ email: 'typo@example.com', title: 'Hello', body: 'x' });
    const { error } = await reads(rig.db, id, { status: 'failed', attempt: 1, error_code: 'invalid_recipient' });
    assert.doesNotMatch(error, /typo@/);
    const failed = await ledger(`job:${id}`);
    assert.deepEqual([failed['notification'], failed['status']], ['failed', 'failed']);
    smtp.heal();
    const corrected = JSON.stringify({ email: 'right@example.com', title: 'Hello', body: 'x' });
    await sql(`update notification_jobs set payload = $2, status = 'pending', retry_count = 0 where id = $1`, [
      id,
      corrected,
    ]);
    await reads(rig.db, id, { status: 'completed' });
    assert.equal(mailTo('right@example.com').length, 1);
  });

  test('a full mailbox uses a retry, and then the mail goes out', async () => {
    smtp.fail('recipient', { code: 452, text: '4.2.2 full' }, 1);
    const id = await send({ email: 'full@example.com', title: 'Hello', body: 'x' });
    await reads(rig.db, id, { status: 'completed', attempt: 2, retry_count: 1, error_code: 'message_deferred' });
    assert.equal(mailTo('full@example.com').length, 1);
  });
});

suite('a connection that breaks off', () => {
  test('before the mail was sent: it is tried again', async () => {
    smtp.fail('recipient', 'drop', 1);
    const id = await send({ email: 'early@example.com', title: 'Hello', body: 'x' });
    await reads(rig.db, id, { status: 'completed' });
    assert.equal(mailTo('early@example.com').length, 1);
  });

  test('after that: nobody knows, and a person decides', async () => {
    smtp.fail('data', 'drop', 1);
    const id = await send({ email: 'late@example.com', title: 'Hello', body: 'x' });
    await reads(rig.db, id, { status: 'failed', attempt: 1, error_code: 'unknown_outcome' });
    assert.equal((await ledger(`job:${id}`))['status'], 'ambiguous');
    const other = await send({ message_id: `job:${id}`, email: 'late@example.com', title: 'Hello', body: 'x' });
    await reads(rig.db, other, { status: 'failed', error_code: 'unknown_outcome' });
    assert.deepEqual(mailTo('late@example.com'), []);
    await sql(`update notification_jobs set status = 'pending' where id = $1`, [id]);
    await reads(rig.db, id, { status: 'completed', attempt: 2 });
    assert.equal(mailTo('late@example.com').length, 1);
    assert.deepEqual([(await ledger(`job:${id}`))['status']], ['sent']);
  });
});

test('a suppressed recipient is skipped', async () => {
  await reads(rig.db, await send({ message_id: 'first', email: 'No@example.com', title: 'x', body: 'y' }), {
    status: 'completed',
  });
  const { recipient_hash } = await ledger('first');
  await sql(`insert into suppressions (channel, recipient_hash, reason) values ('email', $1, 'complaint')`, [
    recipient_hash,
  ]);
  const payload = { message_id: 'second', email: 'no@example.com', title: 'x', body: 'y', priority: 'critical' };
  const { result } = await reads(rig.db, await send(payload), { status: 'completed' });
  assert.equal(result.skipped, 'suppressed');
  const row = await ledger('second');
  assert.deepEqual([row['notification'], row['status'], row['error_code']], ['skipped', 'skipped', 'suppressed']);
  assert.deepEqual(mailTo('no@example.com'), []);
});

test('a word in the payload sets the priority of the row, and ttl its expiry', async () => {
  const [row] = await sql(
    `insert into notification_jobs (kind, payload, run_at)
     values ('email', '{"priority": "critical", "ttl": 60}', now() + interval '1 day')
     returning priority, extract(epoch from expires_at - run_at)::integer as ttl`,
  );
  assert.deepEqual([row!['priority'], row!['ttl']], [-20, 60]);
});

test('while the server is down, the mail waits and uses no retry', async () => {
  const gone = await createRig();
  try {
    const { port } = smtp;
    await smtp.close();
    await gone.worker(await loadRegistry(), {
      QUEUES: 'notification',
      SMTP_URL: smtp.url,
      EMAIL_FROM: 'a@shop.example',
      INCIDENT_CHECK_INTERVAL: '200',
    });
    const payload = { email: 'patient@example.com', title: 'x', body: 'y' };
    const id = await add(gone.db, 'notification', 'email', { payload });
    await eventually(async () => {
      const { rows } = await gone.db.query(`select dependency, code from incidents where resolved_at is null`);
      assert.deepEqual(rows, [{ dependency: 'email', code: 'smtp_unavailable' }]);
    });
    const again = await startSmtp({}, port);
    await reads(gone.db, id, { status: 'completed', retry_count: 0 }, 30_000);
    assert.equal(again.mails.length, 1);
    smtp = again;
  } finally {
    await gone.close();
  }
});

test('without a provider, development writes files, and the row says so', async () => {
  const bare = await createRig();
  const data = await mkdtemp(join(tmpdir(), 'outbox-'));
  try {
    await bare.worker(await loadRegistry(), { QUEUES: 'notification', DATA_DIR: data });
    const payload = { email: 'me@example.com', title: 'Grüße', body: 'Hello' };
    const id = await add(bare.db, 'notification', 'email', { payload });
    const { result } = await reads(bare.db, id, { status: 'completed' });
    assert.equal(result.provider, 'outbox');
    const files = await readdir(join(data, 'outbox/email'));
    assert.ok(files.includes(`${result.delivery_id}.eml`));
    assert.match(await readFile(join(data, `outbox/email/${result.delivery_id}.eml`), 'utf8'), /^To: me@example\.com/m);
  } finally {
    await bare.close();
    await rm(data, { recursive: true });
  }
});

test('in production it is an incident, and so is a missing HASH_KEY', async () => {
  for (const [env, code] of [
    [{}, 'provider_not_configured'],
    [{ SMTP_URL: 'smtp://127.0.0.1:1', EMAIL_FROM: 'a@shop.example' }, 'hash_key_missing'],
  ] as const) {
    const strict = await createRig();
    try {
      await strict.worker(await loadRegistry(), { QUEUES: 'notification', NODE_ENV: 'production', ...env });
      await add(strict.db, 'notification', 'email', { payload: { email: 'a@example.com', title: 'x', body: 'y' } });
      await eventually(async () => {
        const { rows } = await strict.db.query(`select code from incidents where resolved_at is null`);
        assert.deepEqual(rows, [{ code }]);
      });
    } finally {
      await strict.close();
    }
  }
});
