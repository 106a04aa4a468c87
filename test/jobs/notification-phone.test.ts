import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, suite, test } from 'node:test';
import { loadRegistry } from '../../worker/queue/registry.ts';
import { eventually } from '../support/eventually.ts';
import { add, reads, type Row } from '../support/jobs.ts';
import { fault, startTwilio, type FakeTwilio } from '../support/twilio.ts';
import { createRig, type Rig } from '../support/worker.ts';

// notification.sms and notification.whatsapp end to end: a row, a worker, Twilio's API on loopback, and the ledger.

const content = `HX${'a1'.repeat(16)}`;

let rig: Rig;
let twilio: FakeTwilio;

const sql = async (text: string, values: unknown[] = []) => (await rig.db.query<Row>(text, values)).rows;
const send = (kind: string, payload: object) => add(rig.db, 'notification', kind, { payload });
const to = (number: string) => twilio.messages.filter(({ fields }) => fields['To'] === number);
const delivery = async (job: number) => {
  const [row] = await sql(`select d.* from notification_deliveries d where d.job_id = $1`, [job]);
  return row!;
};

before(async () => {
  [rig, twilio] = await Promise.all([createRig(), startTwilio()]);
  await rig.db.query(`update queues set backoff_ms = 20 where name = 'notification'`);
  await rig.worker(await loadRegistry(), {
    QUEUES: 'notification',
    ...twilio.env,
    TWILIO_TIMEOUT: '600',
    TWILIO_CONTENT_TEMPLATES: `tmpl_welcome=${content}`,
    PUBLIC_URL: 'https://jobs.example.com/',
    INCIDENT_CHECK_INTERVAL: '200',
  });
});
beforeEach(() => twilio.heal());
after(async () => {
  await rig.close();
  await twilio.close();
});

suite('the JSON of each seed, as it stands', () => {
  test('the messenger', async () => {
    const id = await send('sms', {
      type: 'sms',
      userId: 'user-uuid',
      phoneNumber: '+1234567890',
      title: 'OTP Code',
      body: 'Your verification code is: 123456',
    });
    const { result } = await reads(rig.db, id, { status: 'completed', attempt: 1, error_code: null });
    const [message] = to('+1234567890');
    assert.deepEqual(message!.fields, {
      To: '+1234567890',
      From: '+14155550100',
      Body: 'Your verification code is: 123456',
      StatusCallback: `https://jobs.example.com/callbacks/twilio?delivery=${result.delivery_id}`,
    });
    assert.deepEqual(result, {
      delivery_id: (await delivery(id)).id,
      provider: 'twilio',
      provider_message_id: message!.sid,
    });
    const [row] = await sql(`select status, target_user_id from notifications where message_id = $1`, [`job:${id}`]);
    assert.deepEqual(row, { status: 'sent', target_user_id: 'user-uuid' });
  });

  test('NEXUS: an object of the channel', async () => {
    const id = await send('sms', { type: 'sms', sms: { to: '+1234567891', body: 'Video <ready> & "done"\r\nNow' } });
    await reads(rig.db, id, { status: 'completed' });
    assert.equal(to('+1234567891')[0]!.fields['Body'], 'Video <ready> & "done"\nNow');
  });

  test('the notification system: an event with a template of Twilio', async () => {
    const id = await send('whatsapp', {
      notification_id: 'notif_wa',
      message_id: 'msg_wa',
      target_user_id: 'user_789',
      channel: 'whatsapp',
      template_id: 'tmpl_welcome',
      payload: { user_name: 'John\nDoe', phone_number: '+1234567892', count: 3 },
      priority: 'normal',
      metadata: { source: 'signup_flow' },
    });
    await reads(rig.db, id, { status: 'completed' });
    const { fields } = to('whatsapp:+1234567892')[0]!;
    assert.equal(fields['From'], 'whatsapp:+14155550111');
    assert.equal(fields['ContentSid'], content);
    assert.equal(fields['Body'], undefined);
    assert.deepEqual(JSON.parse(fields['ContentVariables']!), {
      user_name: 'John Doe',
      phone_number: '+1234567892',
      count: '3',
    });
  });

  test('a number of WhatsApp as Twilio writes it', async () => {
    const id = await send('whatsapp', { whatsapp: { to: 'whatsapp:+1234567895', body: 'x' } });
    await reads(rig.db, id, { status: 'completed' });
    assert.equal(to('whatsapp:+1234567895').length, 1);
  });

  test('a ContentSid is a template, also for SMS', async () => {
    const id = await send('sms', {
      phoneNumber: '+1234567893',
      template: content,
      templateData: { 1: 'x' },
      ttl: 90.5,
    });
    await reads(rig.db, id, { status: 'completed' });
    const { fields } = to('+1234567893')[0]!;
    assert.deepEqual(
      [fields['ContentSid'], fields['ContentVariables'], fields['ValidityPeriod']],
      [content, '{"1":"x"}', '91'],
    );
  });

  test('what is missing or wrong is named', async () => {
    for (const [payload, error_code, error] of [
      [{ body: 'x' }, 'invalid_payload', 'payload.phoneNumber: is missing: the number to send to'],
      [{ phoneNumber: '+4917', body: 'x' }, 'invalid_recipient', /^payload\.phoneNumber: is no number .*E\.164/],
      [{ phoneNumber: '0170 1234567', body: 'x' }, 'invalid_recipient', /^payload\.phoneNumber/],
      [{ payload: { phone: ['+1'] }, body: 'x' }, 'invalid_recipient', /^payload\.payload\.phone:/],
      [{ sms: { to: '+1 415 5550100', body: 'x' } }, 'invalid_recipient', /^payload\.sms\.to/],
      [{ phoneNumber: '+1234567894', body: ' \u0001 ' }, 'invalid_payload', 'payload: has no text'],
      [{ phoneNumber: '+1234567894', body: 'x'.repeat(1601) }, 'message_refused', /1601 characters/],
      [{ phoneNumber: '+1234567894', type: 'email', body: 'x' }, 'invalid_payload', 'payload.type: is email, not sms'],
    ] as const) {
      const row = await reads(rig.db, await send('sms', payload), { status: 'failed', error_code });
      if (typeof error === 'string') assert.equal(row['error'], error);
      else assert.match(row['error'], error);
    }
  });
});

test('a recipient who answered STOP fails, and is skipped from then on', async () => {
  twilio.fail(fault(400, 21610), 1);
  const first = await send('sms', { phoneNumber: '+1234567801', body: 'x' });
  const { error } = await reads(rig.db, first, { status: 'failed', attempt: 1, error_code: 'recipient_opted_out' });
  assert.doesNotMatch(error, /234567801/);
  const second = await send('sms', { phoneNumber: '+1234567801', body: 'y', priority: 'critical' });
  assert.equal((await reads(rig.db, second, { status: 'completed' })).result.skipped, 'suppressed');
  await reads(rig.db, await send('whatsapp', { phoneNumber: '+1234567801', body: 'y' }), { status: 'completed' });
  assert.deepEqual([to('+1234567801').length, to('whatsapp:+1234567801').length], [0, 1]);
});

test('outside of the 24 hours, WhatsApp wants a template', async () => {
  twilio.fail(fault(400, 63016), 1);
  const id = await send('whatsapp', { phoneNumber: '+1234567802', body: 'x' });
  await reads(rig.db, id, { status: 'failed', attempt: 1, error_code: 'template_required' });
});

test('a Retry-After pauses the number for all, and uses no retry', async () => {
  twilio.fail(fault(429, 20429, { 'retry-after': '2' }), 1);
  const id = await send('sms', { phoneNumber: '+1234567803', body: 'x' });
  await eventually(async () => {
    const [bucket] = await sql(`select tokens from rate_limits where key = 'twilio +14155550100'`);
    assert.ok(bucket!['tokens'] < -100);
  });
  await reads(rig.db, id, { status: 'completed', retry_count: 0 }, 20_000);
  assert.equal(to('+1234567803').length, 1);
});

test('a wrong token is an incident: messages wait, and use no retry', async () => {
  twilio.fail(fault(401, 20003));
  const id = await send('sms', { phoneNumber: '+1234567804', body: 'x' });
  await eventually(async () => {
    const open = await sql(`select dependency, code from incidents where resolved_at is null`);
    assert.deepEqual(open, [{ dependency: 'sms', code: 'twilio_unauthorized' }]);
  }, 20_000);
  twilio.heal();
  await reads(rig.db, id, { status: 'completed', retry_count: 0 }, 20_000);
  assert.equal(to('+1234567804').length, 1);
});

suite('an answer that never came', () => {
  test('but Twilio took it: it is found, and not sent again', async () => {
    twilio.fail('lost', 1);
    const id = await send('sms', { phoneNumber: '+1234567805', body: 'once' });
    const { result } = await reads(rig.db, id, { status: 'completed' }, 20_000);
    assert.equal(to('+1234567805').length, 1);
    assert.equal(result.provider_message_id, to('+1234567805')[0]!.sid);
  });

  test('if Twilio never took it, it is sent again, but not before Twilio has given up', async () => {
    await reads(rig.db, await send('sms', { phoneNumber: '+1234567807', body: 'another' }), { status: 'completed' });
    twilio.fail('drop', 1);
    const id = await send('sms', { phoneNumber: '+1234567807', body: 'this' });
    await reads(rig.db, id, { status: 'completed' }, 20_000);
    assert.deepEqual(
      to('+1234567807').map(({ fields }) => fields['Body']),
      ['another', 'this'],
    );
    const [first, second] = to('+1234567807');
    assert.ok(second!.at.getTime() - first!.at.getTime() >= 1_100);
  });

  test('while Twilio cannot be asked, the job waits, and then the message is found', async () => {
    twilio.fail('lost', 1);
    const id = await send('sms', { phoneNumber: '+1234567808', body: 'x' });
    await eventually(() => assert.equal(to('+1234567808').length, 1));
    twilio.fail(fault(503, 20503));
    await eventually(async () => {
      const open = await sql(`select dependency, code from incidents where resolved_at is null`);
      assert.deepEqual(open, [{ dependency: 'sms', code: 'twilio_unavailable' }]);
    }, 20_000);
    twilio.heal();
    await reads(rig.db, id, { status: 'completed' }, 20_000);
    assert.equal(to('+1234567808').length, 1);
  });
});

test('Twilio refused nothing because it was asked wrongly', () => assert.deepEqual(twilio.refused, []));

test('without Twilio, development writes files', async () => {
  const [bare, data] = await Promise.all([createRig(), mkdtemp(join(tmpdir(), 'outbox-'))]);
  try {
    await bare.worker(await loadRegistry(), { QUEUES: 'notification', DATA_DIR: data });
    for (const kind of ['sms', 'whatsapp']) {
      const payload = { phoneNumber: '+1234567890', body: 'Grüße' };
      const { result } = await reads(bare.db, await add(bare.db, 'notification', kind, { payload }), {
        status: 'completed',
      });
      assert.equal(result.provider, 'outbox');
      const file = await readFile(join(data, 'outbox', kind, `${result.delivery_id}.json`), 'utf8');
      assert.deepEqual(JSON.parse(file), { to: '+1234567890', text: 'Grüße' });
    }
  } finally {
    await bare.close();
    await rm(data, { recursive: true });
  }
});
