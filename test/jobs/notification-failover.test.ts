import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { loadRegistry } from '../../worker/queue/registry.ts';
import { add, reads } from '../support/jobs.ts';
import { startSendGrid } from '../support/sendgrid.ts';
import { startSmtp, type FakeSmtp } from '../support/smtp.ts';
import type { Vendor } from '../support/vendor.ts';
import { createRig, type Rig } from '../support/worker.ts';

// An email over two providers: while the first is down, the second one sends it in the same attempt.

let rig: Rig;
let sendgrid: Vendor;
let smtp: FakeSmtp;

before(async () => {
  [rig, sendgrid, smtp] = await Promise.all([createRig(), startSendGrid(), startSmtp()]);
  await rig.worker(await loadRegistry(), {
    QUEUES: 'notification',
    EMAIL_PROVIDERS: 'sendgrid,smtp',
    EMAIL_FROM: 'Shop <hello@shop.example>',
    SENDGRID_API_KEY: 'SG.test',
    SENDGRID_URL: sendgrid.url,
    SMTP_URL: smtp.url,
  });
});
beforeEach(() => {
  sendgrid.heal();
  smtp.heal();
});
after(async () => {
  await rig.close();
  await Promise.all([smtp.close(), sendgrid.close()]);
});

const send = (email: string) =>
  add(rig.db, 'notification', 'email', { payload: { email, title: 'Hello', body: 'Your code is 1234' } });
/** Sends one, and gives its result. It took one attempt, and no retry. */
const sent = async (email: string) =>
  (await reads(rig.db, await send(email), { status: 'completed', attempt: 1, retry_count: 0 }))['result'];
const overSmtp = (email: string) => smtp.mails.filter(({ to }) => to.includes(email)).length;

test('the first provider gets the message, with the id of the delivery', async () => {
  const { provider, provider_message_id, delivery_id } = await sent('first@example.com');
  assert.deepEqual([provider, provider_message_id], ['sendgrid', 'sg-14c5d75ce93']);
  const { content, ...others } = JSON.parse(sendgrid.taken.at(-1)!.body);
  assert.deepEqual(content[0], { type: 'text/plain', value: 'Your code is 1234' });
  assert.equal(content[1].type, 'text/html');
  assert.match(content[1].value, /Your code is 1234/);
  assert.deepEqual(others, {
    personalizations: [{ to: [{ email: 'first@example.com' }] }],
    from: { email: 'hello@shop.example', name: 'Shop' },
    subject: 'Hello',
    headers: { 'Auto-Submitted': 'auto-generated', 'Message-ID': `<${delivery_id}@shop.example>` },
    custom_args: { delivery_id },
  });
});

test('while it is down, or refuses our key, the second one sends; then the first is used again', async () => {
  const faults: [what: string, begin: () => unknown][] = [
    ['503', () => sendgrid.fail({ status: 503 })],
    ['refused', () => sendgrid.close()],
    [
      '401',
      async () => {
        sendgrid = await startSendGrid(Number(new URL(sendgrid.url).port));
        sendgrid.fail({ status: 401, body: '{"errors":[{"message":"The provided authorization grant is invalid"}]}' });
      },
    ],
  ];
  for (const [what, begin] of faults) {
    await begin();
    const to = `down-${what}@example.com`;
    const result = await sent(to);
    assert.deepEqual([result.provider, overSmtp(to)], ['smtp', 1], what);
  }
  sendgrid.heal();
  assert.equal((await sent('again@example.com')).provider, 'sendgrid');
  assert.equal(overSmtp('again@example.com'), 0);
});

test('a message that the first one may have sent is not sent by the second', async () => {
  sendgrid.fail('drop', 1);
  const id = await send('perhaps@example.com');
  await reads(rig.db, id, { status: 'failed', attempt: 1, error_code: 'unknown_outcome' });
  assert.equal(overSmtp('perhaps@example.com'), 0);
});

test('a recipient that the first one refuses is not tried over the second', async () => {
  const errors = [{ field: 'personalizations.0.to.0.email', message: 'Does not contain a valid address.' }];
  sendgrid.fail({ status: 400, body: JSON.stringify({ errors }) });
  await reads(rig.db, await send('wrong@example.com'), { status: 'failed', error_code: 'invalid_recipient' });
  assert.equal(overSmtp('wrong@example.com'), 0);
});

test('too many requests: it waits as long as SendGrid says, and uses no retry', async () => {
  sendgrid.fail({ status: 429, headers: { 'retry-after': '1' } }, 1);
  const row = await reads(rig.db, await send('later@example.com'), { status: 'completed', retry_count: 0 }, 20_000);
  assert.deepEqual([row['result'].provider, row['attempt']], ['sendgrid', 2]);
  // All workers wait: the bucket was emptied by far more than one mail.
  const { rows } = await rig.db.query(`select promised_until > now() - interval '1 minute' as paused from rate_limits`);
  assert.deepEqual(rows, [{ paused: true }]);
});
