import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createPool, transaction, type Db } from '../../../worker/base/db/db.ts';
import { correctRejected, ingest, resubmit, type Outcome } from '../../../worker/queue/ingest/ingest.ts';
import type { Message } from '../../../worker/queue/ingest/message.ts';
import { runRowmill } from '../../support/cli.ts';
import { createDatabase, type TestDatabase } from '../../support/database.ts';

// Messages of other queues: each becomes a job or a rejected message, whatever it is and whatever is beside it.

let db: TestDatabase;
let pool: Db;
before(async () => {
  db = await createDatabase();
  pool = createPool(db.url, { max: 2, log: { warn() {} } });
});
after(async () => {
  await pool.end();
  await db.drop();
});

const message = (key: string, body: unknown = {}, more: Partial<Message> = {}): Message => ({
  key,
  body: body instanceof Uint8Array ? body : Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)),
  ...more,
});
const take = (...messages: Message[]) => transaction(pool, (tx) => ingest(tx, 'test:queue', messages));
const jobOf = async (outcome: Outcome | undefined) => {
  assert.ok(outcome && 'id' in outcome, JSON.stringify(outcome));
  return (await db.query('select * from jobs where id = $1', [outcome.id])).rows[0];
};
const rejectedRows = async () => (await db.query('select * from rejected_messages order by id')).rows;
const rowmill = (...args: string[]) => runRowmill(['rejected', ...args], { env: { DATABASE_URL: db.url } });

test('a message becomes the job that its key names, also by the names of other systems', async () => {
  const named: [key: string, job: string][] = [
    ['media.image', 'media.image'],
    ['cleanup.temp_files', 'cleanup.temp_files'],
    ['notification.no_such_kind', 'notification.no_such_kind'],
    ['notifications.email', 'notification.email'],
    ['notifications.send-email', 'notification.email'],
    ['video-processing.process-video', 'media.transcode'],
    ['social-publishing.publish-to-tiktok', 'social.publish'],
    ['analytics-aggregation.collect-metrics', 'analytics.collect'],
  ];
  const outcomes = await take(...named.map(([key], n) => message(key, { n })));
  for (const [n, [key, job]] of named.entries()) {
    const { queue, kind, payload } = await jobOf(outcomes[n]);
    assert.deepEqual([`${queue}.${kind}`, payload], [job, { n }], key);
  }
});

test('headers say when, how urgent, and what belongs together', async () => {
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  const [full, delayed, past, odd] = await take(
    message(
      'media.image',
      {},
      { priority: 3, headers: { Priority: '-5', 'run-at': '2030-01-31T12:00:00Z', traceparent } },
    ),
    message('media.image', {}, { priority: 3, headers: { 'x-delay': 60_000, expires_at: Date.UTC(2031, 0) } }),
    message('media.image', {}, { headers: { 'x-delay': -60_000 } }),
    message('media.image', {}, { headers: { traceparent: 'nonsense', 'x-death': [{ count: 1 }], priority: null } }),
  );
  const first = await jobOf(full);
  assert.deepEqual(
    [first.priority, first.run_at.toISOString(), first.traceparent],
    [-5, '2030-01-31T12:00:00.000Z', traceparent],
  );
  const second = await jobOf(delayed);
  assert.equal(second.priority, 3);
  assert.ok(Math.abs(second.run_at - second.created_at - 60_000) < 1_000);
  assert.equal(second.expires_at.toISOString(), '2031-01-01T00:00:00.000Z');
  const third = await jobOf(past);
  assert.ok(Math.abs(third.run_at - third.created_at) < 1_000, 'was delayed already');
  assert.deepEqual([(await jobOf(odd)).traceparent, (await jobOf(odd)).priority], [null, 0]);
});

test('a second message with the same id is known, in whatever batch; without an id each is a job', async () => {
  const long = '\0'.repeat(10) + 'x'.repeat(2_000);
  const [one, two, other] = await take(
    message('media.image', {}, { id: 'a' }),
    message('media.audio', {}, { id: 'a' }),
    message('media.image', {}, { id: long }),
  );
  assert.equal((await jobOf(one)).dedupe_key, 'test:queue:a');
  assert.deepEqual(two, { outcome: 'known', id: (one as { id: number }).id });
  const [again, header, long2, twin1, twin2] = await take(
    message('media.image', {}, { id: 'a' }),
    message('media.image', {}, { id: 'b', headers: { 'dedupe-id': 'a' } }),
    message('media.image', {}, { id: long }),
    message('media.image', { twin: true }),
    message('media.image', { twin: true }),
  );
  assert.deepEqual([again, header], [two, two]);
  assert.deepEqual(long2, { outcome: 'known', id: (other as { id: number }).id });
  assert.notEqual((twin1 as { id: number }).id, (twin2 as { id: number }).id);
});

test('what cannot become a job is kept as it came, and the others go on', async () => {
  await db.query('delete from rejected_messages');
  const broken = Buffer.from([0x7b, 0xff, 0x00, 0x7d]);
  const bad: [Message, reason: string, error: RegExp][] = [
    [message('media'), 'no_kind', /^"media" names no kind, such as media\.image$/],
    [message(''), 'no_kind', /^"" names no kind/],
    [message('toString.call'), 'unknown_queue', /^There is no queue toString: there are .*media/],
    [message('media.image', broken, { id: '\0odd\ud800' }), 'not_utf8', /^The body is not UTF-8$/],
    [message('media.image', '{"secret": 12'), 'not_json', /^The body is not JSON, or not all of it$/],
    [message('media.image', ''), 'not_json', /^The body is empty$/],
    [message('media.image', '{"a": "\\u0000"}'), 'refused', /payload: /],
    [message('media.image', { big: 'x'.repeat(1_100_000) }), 'refused', /payload/],
    [message(`media.${'k'.repeat(300)}`), 'refused', /kind/],
    [
      message('media.image', {}, { headers: { priority: 'high', buffer: Buffer.from('x'), 'a\0b': '\ud800', n: 1n } }),
      'invalid_header',
      /^priority must be a number$/,
    ],
    [message('media.image', {}, { headers: { 'x-run-at': 'soon' } }), 'invalid_header', /^x-run-at must be a time/],
    [
      message('media.image', {}, { headers: { priority: 40_000, note: 'n'.repeat(100_000) } }),
      'refused',
      /^priority: must be a whole number/,
    ],
  ];
  const outcomes = await take(
    message('media.image', { first: 1 }),
    ...bad.map(([each]) => each),
    message('media.image', { last: 1 }),
  );
  assert.deepEqual((await jobOf(outcomes[0])).payload, { first: 1 });
  assert.deepEqual((await jobOf(outcomes.at(-1))).payload, { last: 1 });
  const rows = await rejectedRows();
  assert.equal(rows.length, bad.length);
  for (const [n, [{ key, body }, reason, error]] of bad.entries()) {
    const outcome = outcomes[n + 1]!;
    assert.ok(outcome.outcome === 'rejected');
    assert.deepEqual([rows[n].source, rows[n].reason, outcome.reason], ['test:queue', reason, reason]);
    assert.match(rows[n].error, error);
    assert.doesNotMatch(rows[n].error, /secret/);
    assert.equal(rows[n].key, key);
    assert.deepEqual(rows[n].body, Buffer.from(body));
  }
  // It comes again, because its acknowledgement was lost.
  await take(bad[3]![0]);
  assert.equal((await rejectedRows()).length, bad.length);
});

test('by command: list, show, correct by SQL, submit again, delete', async () => {
  await db.query('delete from rejected_messages');
  await take(
    message('pictures', { s3Key: 'a.jpg' }, { id: 'one', headers: { priority: 7 } }),
    message('media.image', '{"s3Key": "b.jpg"'),
    message('media.image', 'nothing'),
  );
  const [one, two, three] = (await rejectedRows()).map(({ id }) => String(id));
  assert.match((await rowmill('list')).stdout, /pictures .*no_kind: "pictures" names no kind/);
  assert.deepEqual(
    JSON.parse((await rowmill('list', '--reason', 'not_json', '--json')).stdout).messages.map((each: { id: number }) =>
      String(each.id),
    ),
    [three, two],
  );
  assert.match(
    (await rowmill('show', one!)).stdout,
    /^key: pictures\nmessage id: one\nno_kind: [^\n]*\nheader priority: 7\nbody, 17 B:\n\{"s3Key":"a\.jpg"\}$/m,
  );

  const early = await rowmill('resubmit', '--all');
  assert.equal(early.code, 1);
  assert.match(early.stderr, /3 messages cannot become jobs yet/);
  await db.query(`update rejected_messages set key = 'media.image' where key = 'pictures'`);
  await db.query(`update rejected_messages set body = convert_to('{"s3Key": "b.jpg"}', 'UTF8') where id = $1`, [two]);
  const late = await rowmill('resubmit', one!, two!, '999999');
  assert.deepEqual([late.code, late.stderr.trim()], [1, 'error: There is no rejected message 999999']);
  const { rows } = await db.query(`select payload, priority, dedupe_key from jobs order by id desc limit 2`);
  assert.deepEqual(rows.toReversed(), [
    { payload: { s3Key: 'a.jpg' }, priority: 7, dedupe_key: 'test:queue:one' },
    { payload: { s3Key: 'b.jpg' }, priority: 0, dedupe_key: null },
  ]);
  assert.deepEqual(await rowmill('delete', three!), { code: 0, stdout: 'deleted 1 rejected message\n', stderr: '' });
  assert.deepEqual(await rejectedRows(), []);
  assert.equal((await rowmill('resubmit')).code, 2);
});

test('a message that was corrected becomes a job when it is submitted again', async () => {
  await db.query('delete from rejected_messages');
  await take(message('media.image', '{"a": '));
  const [{ id }] = await rejectedRows();
  assert.equal(await correctRejected(db, id, { key: 'media.audio', body: Buffer.from('{"a": 1}') }), true);
  const [outcome] = await resubmit(pool, [id]);
  const { kind, payload } = await jobOf(outcome);
  assert.deepEqual([kind, payload], ['audio', { a: 1 }]);
  assert.equal(await correctRejected(db, id, { key: 'x', body: Buffer.from('x') }), false);
});
