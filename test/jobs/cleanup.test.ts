import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { createMessenger, fillMessenger, putAll, type Messenger } from '../support/messenger.ts';
import { startS3Server, type S3Server } from '../support/s3-server.ts';

// Each cleanup on a messenger that has been used for two years: it removes what is due, which queries of their own say
// here, and nothing else.

type Case = {
  kind: string;
  table: string;
  /** What is due, said in other words than the cleanup's own. */
  due: string;
  /** What is old enough, and stays. */
  skipped?: string;
  /** The keys whose objects go. */
  keys?: string;
};

const cases: Case[] = [
  {
    kind: 'stories',
    table: 'stories',
    due: `deleted_at is null and created_at < now() - interval '24 hours'`,
    keys: `select o.key from media_objects o join stories s on s.id = o.story_id
            where s.deleted_at is null and s.created_at < now() - interval '24 hours'`,
  },
  {
    kind: 'messages',
    table: 'messages',
    due: `media_url is not null and not pinned and not legal_hold and created_at < now() - interval '365 days'`,
    skipped: `media_type is not null and (pinned or legal_hold) and created_at < now() - interval '365 days'`,
    keys: `select o.key from media_objects o join messages m on m.id = o.message_id group by o.key
           having bool_and(not m.pinned and not m.legal_hold and m.created_at < now() - interval '365 days')`,
  },
  {
    kind: 'temp_files',
    table: 'temp_files',
    due: `created_at < now() - interval '24 hours'`,
    keys: `select key from temp_files where created_at < now() - interval '24 hours'`,
  },
  { kind: 'sessions', table: 'sessions', due: `last_active_at < now() - interval '30 days'` },
];

const sizes = { messages: 6_000, stories: 2_000, sessions: 2_000, objects: 1_200 };

for (const storage of ['a folder', 's3'] as const)
  suite(`on ${storage}`, () => {
    let s3: S3Server | undefined;
    let messenger: Messenger;
    before(async () => {
      s3 = storage === 's3' ? await startS3Server() : undefined;
      messenger = await createMessenger(s3?.env);
      await putAll(messenger.storage, await fillMessenger(messenger.rig.db.url, sizes));
    });
    after(async () => {
      await messenger.close();
      await s3?.close();
    });

    for (const { kind, table, due, skipped = 'false', keys = `select '' as key where false` } of cases)
      test(`${kind}: a dry run foretells what the run then does, which is what is due and nothing else`, async () => {
        const { sql, one, cleanUp } = messenger;
        await sql(`create table kept as select * from ${table} where not (${due})`);
        // With the columns as they are, so that the others are seen to be as they were.
        const kept = () =>
          one(`select md5(string_agg(t::text, ',' order by id)) from ${table} t where id in (select id from kept)`);
        const rows = await kept();
        const count = async (condition: string) =>
          Number(await one(`select count(*) from ${table} where ${condition}`));
        const [dueRows, skippedRows] = [await count(due), await count(skipped)];
        const going = new Set((await sql(keys)).map((row) => row['key']));
        const keysBefore = await messenger.keys();
        assert.ok(dueRows > 70, 'there is something to do');

        const foretold = await cleanUp(kind, { type: kind, dryRun: true, chunk: 35 });
        assert.deepEqual([await count(due), await kept()], [dueRows, rows]);
        assert.deepEqual(await messenger.keys(), keysBefore);

        const done = await cleanUp(kind, { type: kind, chunk: 35 });
        assert.deepEqual({ ...done, dryRun: true, cutoff: '', remaining: true }, { ...foretold, cutoff: '' });
        const { scanned, deleted, errors, remaining } = done;
        assert.deepEqual(
          { scanned, deleted, skipped: done.skipped, errors, remaining },
          { scanned: dueRows + skippedRows, deleted: dueRows, skipped: skippedRows, errors: 0, remaining: false },
        );
        assert.deepEqual([await count(due), await kept()], [0, rows]);
        assert.deepEqual(
          await messenger.keys(),
          keysBefore.filter((key) => !going.has(key)),
        );
        assert.equal(await one('select count(*) from storage_deletions'), 0);
        const [log] = await sql(`select * from cleanup_logs where kind = $1 and not dry_run`, [kind]);
        assert.deepEqual([log!['deleted'], log!['bytes'], log!['remaining']], [done.deleted, done.bytes, false]);

        const { deleted: again } = await cleanUp(kind);
        assert.equal(again, 0);
        await sql('drop table kept');
      });

    test('what belongs to the deleted rows followed them', async () => {
      const { one } = messenger;
      assert.equal(
        await one(
          `select count(*) from users u
           where active_stories <> (select count(*) from stories s where s.user_id = u.id and deleted_at is null)`,
        ),
        0,
      );
      assert.ok((await one('select sum(expired_stories) from users')) > 100);
      assert.equal(
        await one(
          `select count(*) from session_tokens t where not exists (select from sessions s where s.id = t.session_id)`,
        ),
        0,
      );
      assert.equal(
        await one(
          `select count(*) from devices d
           where (status = 'active') <> exists (select from sessions s where s.device_id = d.id)`,
        ),
        0,
      );
      assert.ok((await one(`select count(*) from devices where status = 'inactive'`)) > 0);
      assert.equal(
        await one(
          `select count(*) from messages where media_removed_at is not null
           and (media_url is not null or metadata is null or body is null)`,
        ),
        0,
      );
    });
  });
