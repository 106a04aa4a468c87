import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import type { Tx } from '../../worker/base/db/db.ts';
import { loadRegistry } from '../../worker/queue/registry.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { add, reads } from '../support/jobs.ts';
import { picture } from '../support/pictures.ts';
import { rolledBack } from '../support/sql-files.ts';
import { createRig } from '../support/worker.ts';

// on_media_processed, the seam between media jobs and the messages of the user's own application.

let db: TestDatabase;
before(async () => {
  db = await createDatabase();
});
after(() => db.drop());

const result = {
  url: 'https://cdn.example.com/a.mp3',
  thumbnail_url: 'https://cdn.example.com/a.webp',
  waveform: [0, 50, 100],
  metadata: { duration: 1.5, format: 'ogg' },
};
const columns =
  'media_url text, thumbnail_url varchar(200), waveform jsonb, metadata jsonb, processed_at timestamptz, body text';

/** Tells a table of messages, which has one with this id, of a result. Gives its rows. */
async function told(
  tx: Tx,
  table: string,
  { id, messageId = id, result: about = result }: { id: unknown; messageId?: unknown; result?: object },
): Promise<Record<string, unknown>[]> {
  await tx.query(`create table messages (${table})`);
  await tx.query(`insert into messages (id) values ($1)`, [id]);
  await tx.query(`select on_media_processed('audio', $1, $2)`, [JSON.stringify({ messageId }), JSON.stringify(about)]);
  return (await tx.query<Record<string, unknown>>(`select * from messages`)).rows;
}

for (const [type, id] of [
  ['uuid', '7f8a1c7e-0d4b-4f1e-9d55-0b1f3a6c2e11'],
  ['text', "message-uuid-'456'"],
  ['varchar(20)', 'm-1'],
  ['bigint', '9007199254740993'],
] as const)
  test(`a message whose id is ${type} gets what it has columns for`, () =>
    rolledBack(db, async (tx) => {
      const [message] = await told(tx, `id ${type} primary key, ${columns}`, { id });
      const { media_url, thumbnail_url, waveform, metadata, processed_at, body } = message!;
      assert.deepEqual({ url: media_url, thumbnail_url, waveform, metadata, body }, { ...result, body: null });
      assert.ok(processed_at instanceof Date);
    }));

test('a number is as good an id as a string', () =>
  rolledBack(db, async (tx) => {
    const [message] = await told(tx, `id integer, media_url text`, { id: 42 });
    assert.equal(message!['media_url'], result.url);
  }));

for (const [table, waveform, metadata] of [
  ['waveform integer[], metadata json', [0, 50, 100], result.metadata],
  ['waveform real[], metadata text', [0, 50, 100], '{"format": "ogg", "duration": 1.5}'],
  ['waveform text, metadata jsonb', '[0, 50, 100]', result.metadata],
] as const)
  test(`a value becomes what its column is: ${table}`, () =>
    rolledBack(db, async (tx) => {
      const [message] = await told(tx, `id text, ${table}`, { id: 'm' });
      assert.deepEqual(message, { id: 'm', waveform, metadata });
    }));

suite('is no error, and changes nothing:', () => {
  const table = `id uuid, ${columns}`;
  const id = '7f8a1c7e-0d4b-4f1e-9d55-0b1f3a6c2e11';
  const untouched = [
    { id, media_url: null, thumbnail_url: null, waveform: null, metadata: null, processed_at: null, body: null },
  ];
  test('no table of messages', () =>
    rolledBack(db, async (tx) => {
      await tx.query(`select on_media_processed('image', '{"messageId": "m"}', '{"url": "x"}')`);
    }));
  test('a table of messages without an id, and one without any of the columns', () =>
    rolledBack(db, async (tx) => {
      await tx.query(`create table messages (message_id text, media_url text)`);
      await tx.query(`select on_media_processed('image', '{"messageId": "m"}', '{"url": "x"}')`);
      await tx.query(`drop table messages`);
      assert.deepEqual(await told(tx, 'id text, body text', { id: 'm' }), [{ id: 'm', body: null }]);
    }));
  for (const [name, messageId] of [
    ['a message that is not there', '00000000-0000-4000-8000-000000000000'],
    ['a messageId that is no uuid', 'message-uuid-456'],
    ['an empty one', ''],
    ['an object', { id }],
    ['none', null],
  ] as const)
    test(name, () =>
      rolledBack(db, async (tx) => assert.deepEqual(await told(tx, table, { id, messageId }), untouched)),
    );
  test('a messageId beyond all numbers', () =>
    rolledBack(db, async (tx) => {
      const messageId = '99999999999999999999';
      assert.deepEqual(await told(tx, 'id bigint, media_url text', { id: 1, messageId }), [{ id: 1, media_url: null }]);
    }));
});

test('what a result does not have, or has as null, stays as it was', () =>
  rolledBack(db, async (tx) => {
    const table = `id text, media_url text default 'before', thumbnail_url text default 'before', waveform jsonb,
                   processed_at timestamptz`;
    const [message] = await told(tx, table, { id: 'm', result: { url: null, waveform: null } });
    const { processed_at, ...rest } = message!;
    assert.deepEqual(rest, { id: 'm', media_url: 'before', thumbnail_url: 'before', waveform: null });
    assert.ok(processed_at);
  }));

test("an error of the user's own trigger on messages is not hidden, whatever its code", () =>
  rolledBack(db, async (tx) => {
    await tx.query(
      `create function no() returns trigger language plpgsql as $$ begin raise '%', 'not so'
       using errcode = '22P02'; end $$`,
    );
    await tx.query(`create table messages (id text, media_url text)`);
    await tx.query(`insert into messages values ('m')`);
    await tx.query(`create trigger no before update on messages for each row execute function no()`);
    await assert.rejects(
      tx.query(`select on_media_processed('image', '{"messageId": "m"}', '{"url": "x"}')`),
      /not so/,
    );
  }));

test("the user's own on_media_processed runs in the transaction that completes the job", async () => {
  const rig = await createRig();
  try {
    await rig.db.query(`update queues set backoff_ms = 50 where name = 'media'`);
    await rig.db.query(`create table told (kind text, payload jsonb, result jsonb)`);
    const replace = (body: string) =>
      rig.db.query(`create or replace function on_media_processed(kind text, payload jsonb, result jsonb) returns void
                    language plpgsql as $$ begin insert into told values (kind, payload, result); ${body} end $$`);
    const { app } = await rig.worker(await loadRegistry(), { QUEUES: 'media', THUMBNAIL_SIZES: '10x10' });
    await app.storage.put('a.jpg', await picture(), { contentType: 'image/jpeg' });
    const { rows } = await rig.db.query(`insert into media (source_key) values ('a.jpg') returning id`);
    const payload = { mediaId: rows[0].id, messageId: 'm', mine: true };

    await replace(`raise 'the message is locked';`);
    const id = await add(rig.db, 'media', 'thumbnails', { payload, max_retries: 0 });
    const failed = await reads(rig.db, id, { status: 'failed', error_code: 'postgres_p0001', result: null });
    assert.match(failed['error'], /the message is locked/);
    const nothing = await rig.db.query(`select (select count(*) from told) as told, thumbnails, status from media`);
    assert.deepEqual(nothing.rows, [{ told: 0, thumbnails: null, status: 'FAILED' }]);

    await replace('');
    await rig.db.query(`update media_jobs set status = 'pending' where id = $1`, [id]);
    const { result: stored } = await reads(rig.db, id, { status: 'completed' });
    assert.deepEqual((await rig.db.query(`select * from told`)).rows, [
      { kind: 'thumbnails', payload, result: stored },
    ]);
  } finally {
    await rig.close();
  }
});

test('a table messages that belongs to another role is refused: its triggers would run with our rights', () =>
  rolledBack(db, async (tx) => {
    await tx.query(`create role a_stranger_with_messages; create table messages (id text, media_url text);
                    alter table messages owner to a_stranger_with_messages`);
    await assert.rejects(tx.query(`select on_media_processed('image', '{"messageId": "1"}', '{"url": "u"}')`), {
      code: '42501',
      message: /^table messages belongs to a_stranger_with_messages/,
    });
  }));
