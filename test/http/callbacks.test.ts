import assert from 'node:assert/strict';
import { createHmac, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { PassThrough } from 'node:stream';
import { after, before, suite, test } from 'node:test';
import { loadConfig } from '../../worker/base/config/config.ts';
import { transaction } from '../../worker/base/db/db.ts';
import { createLog } from '../../worker/base/log.ts';
import { callbacks } from '../../worker/http/callbacks.ts';
import { listen, routes, type HttpServer } from '../../worker/http/server.ts';
import { createHasher } from '../../worker/jobs/notification/delivery/hash.ts';
import { settle } from '../../worker/jobs/notification/delivery/ledger.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { add, reads } from '../support/jobs.ts';
import { silent } from '../support/log.ts';
import { account } from '../support/twilio.ts';

// What providers report, over a socket: forged, replayed, doubled and reordered reports change nothing.

const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
const publicUrl = 'https://jobs.example.com/rowmill';
const config = loadConfig({
  ...account,
  PUBLIC_URL: publicUrl,
  SENDGRID_WEBHOOK_KEY: publicKey.export({ format: 'der', type: 'spki' }).toString('base64'),
});
const hashOf = (address: string) => createHasher(config).ofRecipient(address)[0];

let db: TestDatabase;
let server: HttpServer;
const logged = new PassThrough();
const log = createLog({ ...config, logLevel: 'debug' }, logged);

before(async () => {
  db = await createDatabase();
  server = await listen(routes({} as never, [callbacks({ db, config, log })]), {
    host: '127.0.0.1',
    port: 0,
    timeoutMs: 1_000,
  });
});
after(async () => {
  await server.close();
  await db.drop();
});

const post = (path: string, body: string | Buffer, headers: Record<string, string>) =>
  fetch(`http://127.0.0.1:${server.port}${path}`, { method: 'POST', body: new Uint8Array(Buffer.from(body)), headers });

/** A delivery that a job has sent. */
async function sentDelivery(columns: Record<string, string> = {}): Promise<string> {
  const {
    provider = 'twilio',
    channel = 'sms',
    status = 'sent',
    name = `SM${randomBytes(16).toString('hex')}`,
  } = columns;
  const { rows } = await db.query<{ id: string }>(
    `with n as (insert into notifications (message_id, channel, status)
                values (gen_random_uuid()::text, $2, 'sent') returning id)
     insert into notification_deliveries (notification_id, channel, recipient_hash, status, provider,
                                          provider_message_id)
     select id, $2, 'somebody', $3, $1, $4 from n returning id`,
    [provider, channel, status, name],
  );
  return rows[0]!.id;
}

async function stateOf(id: string) {
  const { rows } = await db.query(
    `select d.status, d.error_code, n.status as notification,
            (select count(*) from notification_events e where e.delivery_id = d.id) as events
       from notification_deliveries d join notifications n on n.id = d.notification_id where d.id = $1`,
    [id],
  );
  return rows[0] as { status: string; error_code: string | null; notification: string; events: number };
}

const suppressions = async (address: string) => {
  const { rows } = await db.query<{ told: string }>(
    `select concat_ws(' ', channel, nullif(list, ''), reason) as told from suppressions where recipient_hash = $1
      order by 1`,
    [hashOf(address)],
  );
  return rows.map(({ told }) => told);
};

const everything = async () =>
  JSON.stringify(
    (
      await db.query(
        `select (select json_agg(d order by id) from notification_deliveries d) as deliveries,
                (select json_agg(e order by provider_event_id) from notification_events e) as events,
                (select json_agg(n order by id) from notifications n) as notifications,
                (select json_agg(s order by recipient_hash, list) from suppressions s) as suppressions`,
      )
    ).rows,
  );

suite('Twilio', () => {
  const signed = (search: string, fields: Record<string, string>, url = `${publicUrl}/callbacks/twilio`) => {
    const text =
      url +
      search +
      Object.keys(fields)
        .toSorted()
        .map((name) => name + fields[name])
        .join('');
    return createHmac('sha1', account.TWILIO_AUTH_TOKEN).update(text).digest('base64');
  };
  const report = (search: string, fields: Record<string, string>, signature = signed(search, fields)) =>
    post(`/callbacks/twilio${search}`, new URLSearchParams(fields).toString(), {
      'content-type': 'application/x-www-form-urlencoded',
      'x-twilio-signature': signature,
    });
  const statusOf = (MessageStatus: string, more: Record<string, string> = {}) => ({
    MessageSid: `SM${'c'.repeat(32)}`,
    MessageStatus,
    To: '+491701234567',
    From: '+14155550100',
    ...more,
  });

  test('a report moves the delivery, and each status counts once', async () => {
    const id = await sentDelivery();
    const fields = statusOf('delivered', { MessageSid: `SM${'0'.repeat(32)}` });
    for (let round = 0; round < 3; round++) assert.equal((await report(`?delivery=${id}`, fields)).status, 200);
    assert.deepEqual(await stateOf(id), { status: 'delivered', error_code: null, notification: 'sent', events: 1 });
  });

  test('a message is also known by its SID', async () => {
    const name = `SM${randomBytes(16).toString('hex')}`;
    const id = await sentDelivery({ name });
    await report('', statusOf('read', { MessageSid: name }));
    assert.equal((await stateOf(id)).status, 'read');
  });

  test('the order in which reports come makes no difference', async () => {
    for (const [statuses, end] of [
      [['queued', 'sent', 'delivered', 'read'], 'read'],
      [['sending', 'sent', 'undelivered'], 'failed'],
    ] as const)
      for (const order of permutations(statuses)) {
        const id = await sentDelivery();
        const MessageSid = `SM${randomBytes(16).toString('hex')}`;
        for (const status of order) await report(`?delivery=${id}`, statusOf(status, { MessageSid }));
        const { status, events } = await stateOf(id);
        assert.deepEqual([status, events], [end, statuses.length], order.join(' '));
      }
  });

  test('many reports at once', async () => {
    const id = await sentDelivery();
    const MessageSid = `SM${randomBytes(16).toString('hex')}`;
    const all = Array.from({ length: 40 }, (_, n) => ['queued', 'sent', 'delivered', 'read'][n % 4]!);
    const answers = await Promise.all(all.map((status) => report(`?delivery=${id}`, statusOf(status, { MessageSid }))));
    assert.deepEqual([...new Set(answers.map(({ status }) => status))], [200]);
    assert.deepEqual(await stateOf(id), { status: 'read', error_code: null, notification: 'sent', events: 4 });
  });

  test('it says what became of a message whose answer never came', async () => {
    for (const status of ['sending', 'ambiguous']) {
      const id = await sentDelivery({ status });
      await report(`?delivery=${id}`, statusOf('sent', { MessageSid: `SM${randomBytes(16).toString('hex')}` }));
      assert.equal((await stateOf(id)).status, 'sent');
    }
  });

  test('a job that did not know runs once more, unless that would send what nobody knows of', async () => {
    for (const [reported, other, status] of [
      ['delivered', 'sent', 'pending'],
      ['undelivered', 'sent', 'failed'],
      ['delivered', 'ambiguous', 'failed'],
    ] as const) {
      const job = await add(db, 'notification', 'sms', { run_at: 'infinity' });
      await db.query(`update jobs set status = 'failed', error_code = 'unknown_outcome' where id = $1`, [job]);
      const ids = [await sentDelivery({ status: 'ambiguous' }), await sentDelivery({ status: other })];
      await db.query(`update notification_deliveries set job_id = $1 where id = any($2)`, [job, ids]);
      await report(`?delivery=${ids[0]}`, statusOf(reported, { MessageSid: `SM${randomBytes(16).toString('hex')}` }));
      await reads(db, job, { status });
    }
  });

  test('a report that comes before the answer is not undone by it', async () => {
    for (const [reported, status] of [
      ['undelivered', 'failed'],
      ['delivered', 'delivered'],
    ] as const) {
      const id = await sentDelivery({ status: 'sending' });
      const MessageSid = `SM${randomBytes(16).toString('hex')}`;
      await report(`?delivery=${id}`, statusOf(reported, { MessageSid }));
      const earlier = await stateOf(id);
      await transaction(db, (tx) => settle(tx, [{ id, status: 'sent', provider: 'twilio' }]));
      assert.equal(earlier.status, status);
      assert.deepEqual(await stateOf(id), earlier);
    }
  });

  test('a message that could not be delivered has failed, and a number that is none is suppressed', async () => {
    for (const [ErrorCode, code, told] of [
      ['30003', 'message_undelivered', []],
      ['30006', 'invalid_recipient', ['sms hard bounce']],
      ['21610', 'recipient_opted_out', ['sms opted out']],
      ['63016', 'template_required', []],
    ] as const) {
      const id = await sentDelivery();
      const To = `+4917012${ErrorCode}`;
      const MessageSid = `SM${randomBytes(16).toString('hex')}`;
      await report(`?delivery=${id}`, statusOf('undelivered', { ErrorCode, To, MessageSid }));
      assert.deepEqual(await stateOf(id), { status: 'failed', error_code: code, notification: 'failed', events: 1 });
      assert.deepEqual(await suppressions(To), told);
    }
  });

  test('STOP suppresses the sender of the message, START ends it, and a replayed STOP does nothing', async () => {
    const From = 'whatsapp:+491709999999';
    const says = (Body: string, n: number, more = {}) =>
      report('', { MessageSid: `SM${String(n).repeat(32)}`, SmsStatus: 'received', From, To: '+1', Body, ...more });
    await says('hello', 1);
    assert.deepEqual(await suppressions('+491709999999'), []);
    const answer = await says(' Stop ', 2);
    assert.deepEqual([answer.headers.get('content-type'), await answer.text()], ['text/xml', '<Response/>']);
    assert.deepEqual(await suppressions('+491709999999'), ['whatsapp opted out']);
    await says('arrêt', 3, { OptOutType: 'START' });
    assert.deepEqual(await suppressions('+491709999999'), []);
    await says(' Stop ', 2);
    assert.deepEqual(await suppressions('+491709999999'), []);
  });

  test('what is forged changes nothing', async () => {
    const [id, other] = [await sentDelivery(), await sentDelivery()];
    const [search, fields] = [`?delivery=${id}`, statusOf('delivered', { MessageSid: `SM${'f'.repeat(32)}` })];
    const right = signed(search, fields);
    const earlier = await everything();
    for (const answer of await Promise.all([
      report(search, fields, ''),
      report(search, fields, 'x'.repeat(28)),
      report(search, { ...fields, MessageStatus: 'failed' }, right),
      report(search, { ...fields, More: '1' }, right),
      report(`?delivery=${other}`, fields, right),
      report(`${search}&x=1`, fields, right),
      report('', fields, right),
      report(search, fields, signed(search, fields, `http://127.0.0.1:${server.port}/callbacks/twilio`)),
      report(search, fields, createHmac('sha1', 'other').update('x').digest('base64')),
    ]))
      assert.equal(answer.status, 403);
    assert.equal(await everything(), earlier);
    assert.equal((await report(search, fields)).status, 200);
  });

  test('a report about another provider’s message, and one that says nothing, change no delivery', async () => {
    const id = await sentDelivery({ provider: 'smtp', channel: 'email' });
    const ends = [
      statusOf('delivered', { MessageSid: `SM${'a'.repeat(32)}` }),
      statusOf('invented'),
      { MessageSid: 'x' },
    ];
    for (const fields of ends) assert.equal((await report(`?delivery=${id}`, fields)).status, 200);
    assert.equal(
      (await report('?delivery=none', statusOf('delivered', { MessageSid: `SM${'b'.repeat(32)}` }))).status,
      200,
    );
    assert.equal((await stateOf(id)).status, 'sent');
  });

  test('a body without end is refused, and a slow one cut off', async () => {
    const answer = await post('/callbacks/twilio', 'x'.repeat(100_000), {});
    assert.equal(answer.status, 413);
    const hasty = await listen(callbacks({ db, config, log }), { host: '127.0.0.1', port: 0, timeoutMs: 300 });
    const socket = connect(hasty.port, '127.0.0.1');
    socket.write('POST /callbacks/twilio HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\nMessageSid=');
    const [said] = (await once(socket, 'data')) as [Buffer];
    assert.match(said.toString(), /^HTTP\/1\.1 408 /);
    socket.destroy();
    await hasty.close();
  });

  test('a client that breaks off is no error, and prints nothing', async (t) => {
    const printed = t.mock.method(console, 'error', () => {});
    const broken = new PassThrough();
    const app = { db, config, log: createLog({ ...config, logLevel: 'debug' }, broken) };
    const other = await listen(callbacks(app), { host: '127.0.0.1', port: 0 });
    const socket = connect(other.port, '127.0.0.1');
    socket.write('POST /callbacks/twilio HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\nMessageSid=', () =>
      socket.destroy(),
    );
    const [line] = (await once(broken, 'data')) as [Buffer];
    assert.match(String(line), /"level":"debug".*"message":"a request failed"/);
    assert.equal(printed.mock.callCount(), 0);
    await other.close();
  });
});

suite('SendGrid', () => {
  const now = () => String(Math.floor(Date.now() / 1_000));
  const report = (events: unknown, { timestamp = now(), key = privateKey, sent = JSON.stringify(events) } = {}) =>
    post('/callbacks/sendgrid', sent, {
      'content-type': 'application/json',
      'x-twilio-email-event-webhook-timestamp': timestamp,
      'x-twilio-email-event-webhook-signature': sign(
        'sha256',
        Buffer.from(timestamp + JSON.stringify(events)),
        key,
      ).toString('base64'),
    });
  let count = 0;
  const event = (name: string, delivery_id: string, more: object = {}) => ({
    event: name,
    delivery_id,
    email: 'canary@example.com',
    sg_event_id: `event-${count++}`,
    sg_message_id: '14c5d75ce93.recvd-84b5',
    timestamp: Number(now()),
    ...more,
  });
  const sent = () => sentDelivery({ provider: 'sendgrid', channel: 'email', name: randomBytes(8).toString('hex') });

  test('one request has many events, in any order, and each counts once', async () => {
    const ids = await Promise.all(Array.from({ length: 50 }, sent));
    const events = ids.flatMap((id) => ['open', 'processed', 'delivered', 'deferred'].map((name) => event(name, id)));
    for (let round = 0; round < 2; round++) assert.equal((await report(events)).status, 204);
    assert.equal((await report(events.slice(0, 20).toReversed())).status, 204);
    for (const id of ids)
      assert.deepEqual(await stateOf(id), { status: 'read', error_code: null, notification: 'sent', events: 4 });
  });

  test('who bounces, complains or unsubscribes is suppressed', async () => {
    for (const [name, more, status, told] of [
      ['bounce', { type: 'bounce', status: '5.1.1', reason: '550 <a@example.com>' }, 'bounced', ['email hard bounce']],
      ['bounce', { type: 'blocked', status: '5.7.1' }, 'bounced', []],
      ['dropped', { reason: 'Bounced Address' }, 'failed', ['email hard bounce']],
      ['dropped', { reason: 'Invalid SMTPAPI header' }, 'failed', []],
      ['spamreport', {}, 'sent', ['email complaint']],
      ['unsubscribe', {}, 'sent', ['email unsubscribed']],
      ['group_unsubscribe', { asm_group_id: 7 }, 'sent', ['email group 7 unsubscribed']],
      ['open', { sg_machine_open: true }, 'sent', []],
    ] as const) {
      const id = await sent();
      const email = `User-${id}@example.com`;
      await report([event(name, id, { email, ...more })]);
      assert.equal((await stateOf(id)).status, status, name);
      assert.deepEqual(await suppressions(email.toLowerCase()), told, name);
    }
  });

  test('a bounce after the delivery counts, and a delivery after the bounce does not', async () => {
    for (const order of [
      ['delivered', 'bounce'],
      ['bounce', 'delivered'],
    ]) {
      const id = await sent();
      for (const name of order) await report([event(name, id, { type: 'bounce' })]);
      const { status, notification } = await stateOf(id);
      assert.deepEqual([status, notification], ['bounced', 'failed']);
    }
  });

  test('a message is also known by the name that SendGrid gave it', async () => {
    const id = await sentDelivery({ provider: 'sendgrid', channel: 'email', name: 'MsgName1' });
    await report([event('delivered', 'none', { sg_message_id: 'MsgName1.recvd-84b5-0' })]);
    assert.equal((await stateOf(id)).status, 'delivered');
  });

  test('what is forged or old changes nothing', async () => {
    const id = await sent();
    const events = [event('delivered', id)];
    const earlier = await everything();
    const stranger = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
    for (const answer of await Promise.all([
      report(events, { key: stranger }),
      report(events, { sent: JSON.stringify([event('bounce', id)]) }),
      report(events, { sent: `${JSON.stringify(events)} ` }),
      report(events, { timestamp: String(Number(now()) - 301) }),
      report(events, { timestamp: String(Number(now()) + 302) }),
      report(events, { timestamp: 'soon' }),
      post('/callbacks/sendgrid', JSON.stringify(events), {}),
    ]))
      assert.equal(answer.status, 403);
    assert.equal(await everything(), earlier);
    assert.equal((await report(events)).status, 204);
  });

  test('what is signed and strange is no error', async () => {
    const earlier = await everything();
    for (const strange of [{}, [], [null, 1, 'x', { event: 1 }], [{ event: '\u0000' }]])
      assert.equal((await report(strange)).status, 204);
    assert.equal(await everything(), earlier);
    const odd = event('delivered', '00000000-0000-0000-0000-000000000000', { timestamp: 'x', sg_event_id: '' });
    assert.equal((await report([odd, odd])).status, 204);
    const unstorable = { sg_event_id: 'a\0b\ud800', sg_message_id: '\0', list: '😀'.repeat(99) + 'x😀'.repeat(50) };
    assert.equal((await report([event('unsubscribe', 'x', unstorable)])).status, 204);
  });
});

test('nothing of a body is logged, nor an address stored', async () => {
  const told = `${String(logged.read())} ${await everything()}`;
  assert.match(told, /"message":"a callback was refused/);
  assert.match(told, /"message":"a provider reported"/);
  assert.doesNotMatch(told, /49170[129]\d{4}|example\.com|550 </);
});

test('while Postgres cannot record it, the provider is asked to send it again', async () => {
  const app = { db: { query: () => Promise.reject(new Error('gone')) } as never, config, log: silent };
  const fields = { MessageSid: `SM${'0'.repeat(32)}`, MessageStatus: 'sent' };
  const text = `${publicUrl}/callbacks/twilioMessageSid${fields.MessageSid}MessageStatus${fields.MessageStatus}`;
  const answer = await callbacks(app).request('/callbacks/twilio', {
    method: 'POST',
    body: new URLSearchParams(fields),
    headers: { 'x-twilio-signature': createHmac('sha1', account.TWILIO_AUTH_TOKEN).update(text).digest('base64') },
  });
  assert.equal(answer.status, 503);
});

test('what is not configured is 404', async () => {
  for (const env of [{}, { ...account }, { PUBLIC_URL: publicUrl }]) {
    const closed = callbacks({ db, config: loadConfig(env), log: silent });
    for (const path of ['/callbacks/twilio', '/callbacks/sendgrid', '/callbacks/smtp'])
      assert.equal((await closed.request(path, { method: 'POST', body: 'x' })).status, 404);
  }
});

function permutations<T>(items: readonly T[]): T[][] {
  if (items.length < 2) return [[...items]];
  return items.flatMap((item, n) => permutations(items.toSpliced(n, 1)).map((rest) => [item, ...rest]));
}
