import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { loadRegistry } from '../../worker/queue/registry.ts';
import { eventually } from '../support/eventually.ts';
import { startFcm, type FakeFcm } from '../support/fcm.ts';
import { add, reads, rows, type Row } from '../support/jobs.ts';
import { startSlack } from '../support/slack.ts';
import { startSmtp, type FakeSmtp } from '../support/smtp.ts';
import { startTwilio, type FakeTwilio } from '../support/twilio.ts';
import type { Vendor } from '../support/vendor.ts';
import { createRig, type Rig } from '../support/worker.ts';

// Payloads, templates and answers that mean harm. Each job ends with an error that has a name, or with a safe message,
// and its neighbours are delivered.

let rig: Rig;
let smtp: FakeSmtp;
let twilio: FakeTwilio;
let slack: Vendor;
let fcm: FakeFcm;

before(async () => {
  [rig, smtp, twilio, slack, fcm] = await Promise.all([
    createRig(),
    startSmtp(),
    startTwilio(),
    startSlack(),
    startFcm(),
  ]);
  await rig.db.query(
    `insert into notification_templates (id, channel, subject, html, text) values
       ('link', 'email', 'Hi', '<a class="b" href="{{url}}">go</a>', 'x'),
       ('bare', 'email', 'Hi', '<a href={{url}}>go</a>', 'x'),
       ('broken', 'email', '{{#if', '{{', '{{'), ('partial', 'email', '{{> evil}}', '', ''),
       ('proto', 'email', '{{constructor.name}}', '', ''), ('empty', 'email', '', '', ''),
       ('raw', 'email', 'Hi', '<style>p > b {}</style><p>One</p><P class="x">two<br/>{{{name}}}</p>', '')`,
  );
  await rig.worker(await loadRegistry(), {
    QUEUES: 'notification',
    CONCURRENCY: '20',
    EMAIL_FROM: 'Shop <hello@shop.example>',
    SMTP_URL: smtp.url,
    SLACK_BOT_TOKEN: 'xoxb-test',
    SLACK_API_URL: slack.url,
    PUBLIC_URL: 'https://shop.example',
    ...twilio.env,
    ...fcm.env,
  });
});
after(async () => {
  await rig.close();
  await Promise.all([smtp.close(), twilio.close(), slack.close(), fcm.close()]);
});

type Fields = Record<string, unknown>;
const recipients: Record<string, (n: number) => Fields> = {
  email: (n) => ({ email: `u${n}@example.com` }),
  sms: (n) => ({ phoneNumber: `+1415555${1_000 + n}` }),
  whatsapp: (n) => ({ phoneNumber: `+1415556${1_000 + n}` }),
  slack: (n) => ({ slack: `#c${n}` }),
  push: (n) => ({ fcmToken: `token-${n}` }),
};
const words = { title: 'Hi', body: 'Text' };
const nested = (depth: number): unknown => (depth === 0 ? 1 : { a: nested(depth - 1) });
const controls = '\u0001\u001b[31m\u0085\u007fa\u2028b\r\rc';

/** For each kind: what is wrong beside the recipient, and its error code. */
const everywhere: [fields: Fields, code: string][] = [
  [{ ...words, title: ['a'] }, 'invalid_payload'],
  [{ ...words, title: { toString: 'x' } }, 'invalid_payload'],
  [{ ...words, title: 'x'.repeat(1_001) }, 'invalid_payload'],
  [{ ...words, body: ['a'] }, 'invalid_payload'],
  [{ ...words, body: { path: '/etc/passwd' } }, 'invalid_payload'],
  [{ ...words, body: 'x'.repeat(900_000) }, 'invalid_payload'],
  [{ title: '\u0001', body: '\u0001\u0002' }, 'invalid_payload'],
  [{ title: ' ', body: ' \n' }, 'invalid_payload'],
  [{ ...words, type: 'fax' }, 'invalid_payload'],
  [{ ...words, type: ['email'] }, 'invalid_payload'],
  [{ ...words, priority: { critical: 1 } }, 'invalid_payload'],
  [{ ...words, ttl: -1 }, 'invalid_payload'],
  [{ ...words, userId: { a: 1 } }, 'invalid_payload'],
  [{ ...words, locale: `en${'-abcdefgh'.repeat(500)}` }, 'invalid_payload'],
  [{ ...words, locale: '../en' }, 'invalid_payload'],
  [{ ...words, message_id: 'm'.repeat(501) }, 'invalid_payload'],
  [{ ...words, metadata: { a: 'x'.repeat(200_000) } }, 'invalid_payload'],
  [{ ...words, data: [1] }, 'invalid_payload'],
  [{ ...words, data: nested(3_000) }, 'invalid_payload'],
  [{ ...words, data: Object.fromEntries(Array.from({ length: 10_001 }, (_, n) => [n, n])) }, 'invalid_payload'],
  [{ template: '__proto__' }, 'template_not_found'],
  [{ template: 'constructor' }, 'template_not_found'],
  [{ template: '../../../etc/passwd' }, 'template_not_found'],
  [{ template: 'welcome', templateData: { constructor: 1 } }, 'missing_variable'],
];

const strangeAddresses = [
  'a@b.example,c@d.example',
  'a@b.example\r\nRCPT TO:<x@y.example>',
  'a@b.example>\r\nDATA',
  '<a@b.example>',
  'A <a@b.example>',
  '"a b"@c.example',
  'a@b@c.example',
  'a@[127.0.0.1]',
  'group:a@b.example;',
  'a@exa mple.com',
  'a\u0001b@c.example',
  'a\u0085@c.example',
  'a\u202e@c.example',
  'a\u200b@c.example',
  'a＠b.example',
  'a@',
  `a@${'x'.repeat(260)}`,
  `${'x'.repeat(65)}@c.example`,
  '@c.example',
  'a',
];
const strangeLinks = [
  'javascript:alert(1)',
  ' JaVaScRiPt:alert(1)',
  'java\tscript:alert(1)',
  '\u0001javascript:alert(1)',
  '//x',
  'data:text/html,x',
  'vbscript:x',
  'file:///etc/passwd',
  'https://[::1',
  ['https://x.example'],
];

const byKind: [kind: string, payload: unknown, code: string][] = [
  ['email', ['a'], 'invalid_payload'],
  ['email', 'x', 'invalid_payload'],
  ['email', 7, 'invalid_payload'],
  ['email', { email: { path: '/etc/passwd' }, ...words }, 'invalid_payload'],
  ['email', { email: { to: ['a@b.example'] }, ...words }, 'invalid_payload'],
  ['email', { payload: { email: 5 }, ...words }, 'invalid_recipient'],
  ...strangeAddresses.map((email): [string, unknown, string] => ['email', { email, ...words }, 'invalid_recipient']),
  ...strangeLinks.map((url): [string, unknown, string] => [
    'email',
    { email: 'a@b.example', template: 'password-reset', data: { url } },
    'unsafe_link',
  ]),
  ...['javascript:alert(1)', ' \u0001Java\nscript:alert(1)', 'data:text/html,x', 'vbscript:x'].flatMap((url) =>
    ['link', 'bare'].map((template): [string, unknown, string] => [
      'email',
      { email: 'a@b.example', template, data: { url } },
      'unsafe_link',
    ]),
  ),
  ['email', { email: 'a@b.example', template: 'broken' }, 'invalid_template'],
  ['email', { email: 'a@b.example', template: 'partial' }, 'invalid_template'],
  ['email', { email: 'a@b.example', template: 'proto' }, 'missing_variable'],
  ['email', { email: 'a@b.example', template: 'empty' }, 'invalid_payload'],
  ...['+1', '+0123456789', '4155550100', '+1 415 555 0100', '+1415555０100', '+14155550100,+14155550101', 'x'].map(
    (phoneNumber): [string, unknown, string] => ['sms', { phoneNumber, ...words }, 'invalid_recipient'],
  ),
  ['sms', { phoneNumber: 14155550100, ...words }, 'invalid_payload'],
  ['sms', { sms: { to: '+14155550177', body: 'x'.repeat(1_601) } }, 'message_refused'],
  ['push', { fcmToken: 'to ken', ...words }, 'invalid_recipient'],
  ['push', { fcmToken: 'x'.repeat(5_000), ...words }, 'invalid_recipient'],
  ['push', { push: [] }, 'invalid_payload'],
  ['push', { fcmToken: 't', ...words, link: 'javascript:alert(1)' }, 'invalid_payload'],
  ['push', { fcmToken: 't', ...words, data: { from: 'x' } }, 'invalid_payload'],
  ['slack', { slack: '#a,#b', ...words }, 'invalid_recipient'],
  ['slack', { slack: { channel: '#s', blocks: 'x' } }, 'invalid_payload'],
  ['slack', { slack: { channel: '#s', text: '\u0001' } }, 'message_refused'],
  ['batch', { userIds: [], ...words }, 'invalid_payload'],
  ['batch', { userIds: [{}], ...words }, 'invalid_payload'],
  ['batch', { userIds: ['nobody'], ...words, type: 'email' }, 'invalid_payload'],
];

/** What becomes a message that harms nobody. */
const safe: [kind: string, payload: Fields][] = [
  ['email', { email: { to: 'bcc@example.com', subject: 'S\r\nBcc: evil@example.com' }, ...words }],
  ['email', { email: 'headers@example.com', title: 'T\r\nBcc: evil@example.com\r\n\r\nx', body: 'b', bcc: 'evil@x.y' }],
  ['email', { email: 'dots@example.com', title: 'T', body: '.\r\n..\r\n.\r\nQUIT' }],
  ['email', { email: 'controls@example.com', title: controls, body: controls }],
  ['email', { email: 'long@example.com', title: 'é'.repeat(1_000), body: '<'.repeat(10_000) }],
  ['email', { email: 'large@example.com', template: 'welcome', data: { name: '<i>'.repeat(200_000) } }],
  ...['<', '<style', '\u00a0'].map((end): [string, Fields] => [
    'email',
    { email: 'endless@example.com', template: 'raw', data: { name: `a${end.repeat(400_000 / end.length)}b` } },
  ]),
  ['email', { email: 'list@example.com', ...words, list: '😀'.repeat(100) }],
  ['email', { email: 'proto@example.com', ...words, data: JSON.parse('{"__proto__": {"x": 1}, "toString": "y"}') }],
  ['email', { email: 'number@example.com', ...words, data: { n: 1e308 }, userId: '😀'.repeat(250) }],
  ['email', { email: 'quote@example.com', ...words, message_id: `'; drop table jobs; --`, notification_id: '"\\' }],
  ['email', { email: "o'brien+x=y@example.com", ...words }],
  ['sms', { phoneNumber: '+14155550188', body: `${controls}${'😀'.repeat(700)}` }],
  ['whatsapp', { phoneNumber: '+14155550189', template: `HX${'0'.repeat(32)}`, data: { 1: controls, 2: ['a'] } }],
  ['slack', { slack: '#controls', title: '<!channel>', body: `<https://x.example|y> ${controls}` }],
  ['slack', { slack: { channel: '#own', text: controls, token: 'xoxb-other', client_msg_id: 'x' } }],
  ['push', { fcmToken: 'controls', title: controls, body: controls, data: { a: controls } }],
];

async function addAll(jobs: [kind: string, payload: unknown][]): Promise<number[]> {
  const { rows: added } = await rig.db.query<{ id: number }>(
    `insert into notification_jobs (kind, payload, max_retries)
     select j ->> 0, j -> 1, 0 from jsonb_array_elements($1::jsonb) j returning id`,
    [JSON.stringify(jobs)],
  );
  return added.map(({ id }) => id);
}

async function ended(ids: number[]): Promise<Row[]> {
  return eventually(async () => {
    const all = await rows(rig.db, ids);
    assert.equal(all.filter(({ status }) => /pending|processing/.test(status)).length, 0);
    return all;
  }, 120_000);
}

const subjectIn = (source: string) => /^Subject: (.*(?:\r\n\s.*)*)/m.exec(source)?.[1];

test('each has an error of its own name, or is a safe message; all others are delivered', async () => {
  let n = 0;
  const wrong: [kind: string, payload: unknown, code: string][] = [
    ...Object.entries(recipients).flatMap(([kind, to]) =>
      everywhere.map(([fields, code]): [string, unknown, string] => [kind, { ...to(++n), ...fields }, code]),
    ),
    ...byKind,
  ];
  assert.ok(wrong.length + safe.length > 200, `${wrong.length + safe.length}`);
  const neighbours = Array.from({ length: 10 }, (_, at): [string, unknown] => [
    'email',
    { email: `neighbour${at}@example.com`, ...words },
  ]);
  const ids = await addAll([
    ...neighbours,
    ...safe,
    ...wrong.map(([kind, payload]): [string, unknown] => [kind, payload]),
  ]);
  const all = await ended(ids);

  const good = all.slice(0, neighbours.length + safe.length);
  assert.deepEqual(
    good.flatMap((row, at) => (row.status === 'completed' ? [] : [[safe[at - neighbours.length], row['error']]])),
    [],
  );
  const found = all.slice(good.length).map((row, at) => [...wrong[at]!.slice(0, 2), row['error_code']]);
  const strange = found.filter((_, at) => found[at]![2] !== wrong[at]![2]);
  assert.deepEqual(
    strange.map((each) => JSON.stringify(each).slice(0, 200)),
    [],
  );
});

test('the far sides saw no header of a stranger and no control character', () => {
  assert.deepEqual(
    smtp.mails.flatMap(({ to }) => to).filter((to) => /evil|^x@/.test(to)),
    [],
  );
  for (const { source, to } of smtp.mails) {
    const head = source.slice(0, source.indexOf('\r\n\r\n'));
    assert.doesNotMatch(head, /^(bcc|cc):/im, String(to));
    assert.doesNotMatch(head, /[^\x20-\x7e\r\n]/, String(to));
    assert.ok(
      source.split('\r\n').every((line) => line.length <= 998),
      String(to),
    );
    assert.equal(head.match(/^(From|To|Subject|Message-ID|Date):/gm)?.length, 5, String(to));
  }
  const mailTo = (address: string) => smtp.mails.find(({ to }) => to.includes(address))!.source;
  assert.equal(subjectIn(mailTo('bcc@example.com')), 'S Bcc: evil@example.com');
  assert.equal(subjectIn(mailTo('controls@example.com')), '[31m a b c');
  const endless = smtp.mails.filter(({ to }) => to.includes('endless@example.com'));
  assert.ok(endless.some(({ source }) => /\r\n\r\nOne\r\ntwo\r\na</.test(source)));
  const control = /[^\P{Cc}\n\t]/u;
  for (const { fields } of twilio.messages) assert.doesNotMatch(Object.values(fields).join(''), control);
  for (const { body } of slack.taken) {
    const { text, channel, token, client_msg_id } = JSON.parse(body);
    assert.doesNotMatch(text, control, channel);
    assert.deepEqual([token, client_msg_id === 'x'], [undefined, false]);
    assert.doesNotMatch(text, /<!channel>|<https/);
  }
  for (const { notification } of fcm.taken) assert.doesNotMatch(JSON.stringify(Object.values(notification)), /\\u00/);
});

test('a provider may name a message as it likes', async () => {
  twilio.fail({ status: 201, body: JSON.stringify({ sid: `SM\0\ud800${'x'.repeat(3_000)}` }) }, 1);
  const payload = { phoneNumber: '+14155550187', ...words };
  const id = await add(rig.db, 'notification', 'sms', { payload });
  await reads(rig.db, id, { status: 'completed', retry_count: 0 });
  const { rows: found } = await rig.db.query(
    `select status, char_length(provider_message_id) as length from notification_deliveries where job_id = $1`,
    [id],
  );
  assert.deepEqual(found, [{ status: 'sent', length: 1_000 }]);
});

test('one that names a message after its recipient gives it no name', async () => {
  const phoneNumber = '+14155550186';
  twilio.fail({ status: 201, body: JSON.stringify({ sid: `SM ${phoneNumber}` }) }, 1);
  fcm.fail({ status: 200, body: JSON.stringify({ name: 'messages/named-after' }) }, { times: 1, token: 'named-after' });
  const ids = await addAll([
    ['sms', { phoneNumber, ...words }],
    ['push', { fcmToken: 'named-after', ...words }],
  ]);
  for (const id of ids)
    assert.equal((await reads(rig.db, id, { status: 'completed' }))['result'].provider_message_id, null);
  const { rows: found } = await rig.db.query(
    `select provider_message_id from notification_deliveries where job_id = any($1) and status = 'sent'`,
    [ids],
  );
  assert.deepEqual(found, [{ provider_message_id: null }, { provider_message_id: null }]);
});

test('a suppressed mailbox is found in each spelling of its domain', async () => {
  const send = (email: string) => add(rig.db, 'notification', 'email', { payload: { email, ...words } });
  const first = await send('spelt@bücher.example');
  await reads(rig.db, first, { status: 'completed' });
  await rig.db.query(
    `insert into suppressions (channel, recipient_hash, reason)
     select channel, recipient_hash, 'complaint' from notification_deliveries where job_id = $1`,
    [first],
  );
  for (const email of [
    'SPELT@xn--bcher-kva.example',
    'spelt@BÜCHER.example.',
    'spelt@bücher。ｅxample',
    'spelt@bu\u0308cher.example',
  ])
    assert.equal((await reads(rig.db, await send(email), { status: 'completed' }))['result'].skipped, 'suppressed');
});
