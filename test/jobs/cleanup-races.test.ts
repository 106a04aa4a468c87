import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Tx } from '../../worker/base/db/db.ts';
import { prepareOutputs } from '../../worker/jobs/media/original/original.ts';
import { createDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { add, reads } from '../support/jobs.ts';
import { createMessenger, putAll, type Messenger } from '../support/messenger.ts';
import type { Handler } from '../support/worker.ts';

// Objects that somebody begins to use while they are being deleted, by what no other transaction can see yet.

let messenger: Messenger;
let beforeEnd = async () => {};
before(async () => {
  messenger = await createMessenger();
  const written: Handler = async ({ job, app, signal }) => {
    const source = { key: 'uploads/photo.jpg', sha256: '00' };
    const outputs = await prepareOutputs(app, job, source, { kind: 'written' }, signal);
    const { key } = await outputs.put('photo.txt', Buffer.from('photo'));
    await beforeEnd();
    return { key };
  };
  await messenger.rig.worker({ 'media.written': written }, { QUEUES: 'media' });
});
after(() => messenger.close());

/** The time until the next try, as if it had passed. */
const hurry = () => messenger.sql(`update storage_deletions set due_at = clock_timestamp()`);

/** A story that is due, and its object. */
async function expired(key: string): Promise<void> {
  await putAll(messenger.storage, [key]);
  await messenger.sql(
    `with u as (insert into users default values returning id),
          s as (insert into stories (user_id, created_at) select id, now() - interval '2 days' from u returning id)
     insert into media_objects (key, bytes, story_id) select $1, 10, id from s`,
    [key],
  );
}

async function open(work: (tx: Tx) => Promise<void>): Promise<void> {
  const tx = await messenger.rig.db.connect();
  try {
    await tx.query('begin');
    await work(tx);
  } finally {
    await tx.query('rollback');
    tx.release();
  }
}

for (const [end, stays] of [
  ['commit', true],
  ['rollback', false],
] as const)
  test(`an object in use by an open transaction waits for it; ${end}: it ${stays ? 'stays' : 'goes'}`, async () => {
    const { one, cleanUp, keys } = messenger;
    const [key, other] = [`stories/${end}`, `stories/${end}-other`];
    await expired(key);
    await open(async (tx) => {
      await tx.query(`insert into media_objects (key) values ('${key}')`);
      await expired(other);
      const { deleted, errors, remaining } = await cleanUp('stories');
      assert.deepEqual({ deleted, errors, remaining }, { deleted: 2, errors: 0, remaining: true });
      const later = `select count(*) from storage_deletions where due_at > now() + interval '1 minute'
                     and attempts = 0`;
      assert.equal(await one(later), 2);
      await hurry();
      assert.equal((await cleanUp('storage_deletions')).remaining, true);
      assert.ok((await keys()).includes(key));
      await tx.query(end);
    });
    await hurry();
    const { scanned, skipped, remaining } = await cleanUp('storage_deletions');
    assert.deepEqual({ scanned, skipped, remaining }, { scanned: 2, skipped: stays ? 1 : 0, remaining: false });
    assert.deepEqual([(await keys()).includes(key), (await keys()).includes(other)], [stays, false]);
  });

test('an object that was kept for a URL goes after the row with the URL, whichever cleanup takes that', async () => {
  const { sql, one, cleanUp, keys } = messenger;
  const names = ['kept/message', 'kept/file', 'kept/media'];
  for (const key of names) await expired(key);
  await sql(
    `insert into messages (media_type, media_url, created_at)
     values ('image', 'https://a.example/kept/message', now() - interval '2 years')`,
  );
  await sql(
    `insert into auction_files (thumb_url, deleted_at)
     values ('https://a.example/kept/file', now() - interval '31 days')`,
  );
  await sql(`insert into media (url) values ('https://a.example/kept/media')`);

  assert.equal((await cleanUp('stories')).remaining, false);
  assert.deepEqual((await keys('kept/')).toSorted(), names.toSorted());
  await cleanUp('messages');
  await cleanUp('soft_deleted_files');
  assert.deepEqual(await keys('kept/'), ['kept/media']);
  await sql('delete from media');
  await cleanUp('storage_deletions');
  assert.deepEqual(await keys('kept/'), []);
  assert.equal(await one('select count(*) from storage_kept'), 0);
});

test('a transaction of another database is not waited for', async () => {
  const other = await createDatabase();
  const tx = await other.connect();
  try {
    await tx.query(`begin; update queues set paused = true`);
    await expired('stories/elsewhere');
    const { deleted, remaining } = await messenger.cleanUp('stories');
    assert.deepEqual({ deleted, remaining }, { deleted: 1, remaining: false });
  } finally {
    tx.release(true);
    await other.drop();
  }
});

test('transactions that end soon are waited for, and those that came later are not', async () => {
  const { cleanUp, keys, rig } = messenger;
  await expired('stories/busy');
  let busy = true;
  const writers = [0, 100, 200].map(async (delay) => {
    await sleep(delay);
    while (busy) await rig.db.query(`insert into users (name) values ('busy') returning pg_sleep(0.3)`);
  });
  await sleep(300);
  const { deleted, remaining } = await cleanUp('stories');
  busy = false;
  await Promise.all(writers);
  assert.deepEqual({ deleted, remaining }, { deleted: 1, remaining: false });
  assert.ok(!(await keys()).includes('stories/busy'));
});

test('rows that were restored from the dump of another server are deleted nonetheless', async () => {
  const { sql, one, cleanUp } = messenger;
  await sql(
    `insert into storage_deletions (key, reason, horizon) values ('temp/restored', 'by_hand', '9000000000000')`,
  );
  assert.equal((await cleanUp('storage_deletions')).deleted, 1);
  assert.equal(await one('select count(*) from storage_deletions'), 0);
});

/** A media job of one and the same original, for a message of its own. */
async function process(age: string): Promise<number> {
  const message = await messenger.one(
    `insert into messages (media_type, created_at) values ('image', now() - $1::interval) returning id`,
    [age],
  );
  const payload = { s3Key: 'uploads/photo.jpg', messageId: message };
  return add(messenger.rig.db, 'media', 'written', { payload });
}

test('what a running media job writes again is kept, though its first message has expired', async () => {
  const { sql, one, cleanUp, keys, rig } = messenger;
  const { result } = await reads(rig.db, await process('366 days'), { status: 'completed' });
  const goOn = Promise.withResolvers<void>();
  beforeEnd = () => goOn.promise;
  const id = await process('1 day');
  await eventually(async () => assert.equal(await one('select job_id from storage_holds'), id));
  assert.equal((await cleanUp('messages')).deleted, 1);
  assert.equal(await one('select count(*) from storage_deletions'), 0);
  goOn.resolve();
  beforeEnd = async () => {};
  await reads(rig.db, id, { status: 'completed' });
  assert.deepEqual(await keys('processed/'), [result.key]);

  await sql(`update messages set created_at = now() - interval '366 days'`);
  await cleanUp('messages');
  assert.deepEqual(await keys('processed/'), []);
});

test('a media job waits for a deletion that is under way, and writes after it', async () => {
  const { sql, storage, keys, rig } = messenger;
  const { result } = await reads(rig.db, await process('1 day'), { status: 'completed' });
  await sql('delete from media_objects');
  await sql(`insert into storage_deletions (key, reason) values ($1, 'by_hand')`, [result.key]);
  let id: number | undefined;
  await open(async (tx) => {
    await tx.query(`select from storage_deletions for update`);
    id = await process('1 day');
    await reads(rig.db, id, { status: 'processing' });
    await sleep(500);
    await storage.delete([result.key]);
    await tx.query('delete from storage_deletions; commit');
  });
  await reads(rig.db, id!, { status: 'completed' });
  assert.deepEqual(await keys('processed/'), [result.key]);
});
