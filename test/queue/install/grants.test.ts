import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import type { Tx } from '../../../worker/base/db/db.ts';
import { createDatabase, type TestDatabase } from '../../support/database.ts';
import { exposed } from '../../support/intruder.ts';
import { addSomeJobs, addSupabaseRoles, rolledBack, runFile } from '../../support/sql-files.ts';

// What sql/enqueue/app_role.sql and supabase.sql let these roles do, and nothing else.

let db: TestDatabase;
before(async () => {
  db = await createDatabase();
});
after(() => db.drop());

/** Runs `work` on some jobs, as their owner until it says otherwise. */
const trying = (work: (tx: Tx) => Promise<void>) => () =>
  rolledBack(db, async (tx) => {
    await addSomeJobs(tx);
    await work(tx);
  });

const rows = async (tx: Tx, text: string) => (await tx.query(text)).rows as Record<string, any>[];

async function refused(tx: Tx, text: string): Promise<void> {
  await tx.query('savepoint before');
  await assert.rejects(tx.query(text), { code: '42501' }, text);
  await tx.query('rollback to before');
}

const ticketed = `select json_array_elements_text(payload -> 'ids')::bigint as id from rowmill_tickets._private_jobs`;

suite('a role that may only add jobs', () => {
  const asShop = (work: (tx: Tx) => Promise<void>) =>
    trying(async (tx) => {
      await runFile(tx, 'enqueue/app_role.sql');
      await tx.query('set local role shop');
      await work(tx);
    });

  test(
    'adds jobs that get their tickets, with no right on the tickets',
    asShop(async (tx) => {
      await refused(tx, `select * from rowmill_tickets.jobs`);
      await refused(
        tx,
        `select add_tickets(array['media'], array['image'], array[1::bigint], array[0::smallint], array[now()])`,
      );
      await tx.query(`insert into jobs (queue, kind, payload) values ('media', 'image', '{}')`);
      const [media] = await rows(tx, `select currval('job_ids') as id`);
      await tx.query(`insert into publish_jobs (file_id) values ('00000000-0000-4000-8000-00000000000a')`);
      const [publish] = await rows(tx, `select currval('job_ids') as id`);

      await tx.query('reset role');
      const ids = [media!['id'], publish!['id']];
      const jobs = await tx.query(`select id, status, max_retries from jobs where id = any($1) order by id`, [ids]);
      assert.deepEqual(jobs.rows, [
        { id: ids[0], status: 'pending', max_retries: 3 },
        { id: ids[1], status: 'pending', max_retries: 5 },
      ]);
      const found = await tx.query(`select id from (${ticketed}) t where id = any($1) order by id`, [ids]);
      assert.deepEqual(
        found.rows,
        ids.map((id) => ({ id })),
      );
    }),
  );

  test(
    'adds a job once with a dedupe key, though it may make no temporary table',
    asShop(async (tx) => {
      await tx.query(`reset role; do $$ begin
                      execute format('revoke temp on database %I from public', current_database()); end $$;
                      set local role shop`);
      await refused(tx, `create temporary table t ()`);
      const add = `insert into jobs (queue, kind, dedupe_key) values ('media', 'image', 'one')`;
      assert.equal((await tx.query(add)).rowCount, 1);
      assert.equal((await tx.query(add)).rowCount, 0);
    }),
  );

  test(
    'reads and changes nothing, its own jobs neither',
    asShop(async (tx) => {
      await tx.query(`insert into jobs (queue, kind) values ('media', 'image')`);
      for (const what of [
        'jobs',
        'publish_jobs',
        'media_jobs',
        'media_jobs_live',
        'job_errors',
        'job_keys',
        'queues',
        'workers',
        'schedules',
        'schedule_status',
        'listeners',
        'dead_letters',
        'error_codes',
        'queue_depth',
        'auction_files',
        'rowmill_migrations',
      ])
        await refused(tx, `select * from ${what}`);
      await refused(tx, `insert into jobs (queue, kind) values ('media', 'image') returning id`);
      await refused(tx, `update jobs set status = 'cancelled'`);
      await refused(tx, `delete from publish_jobs`);
      await refused(tx, `truncate jobs`);
      await refused(tx, `select setval('job_ids', 1)`);
    }),
  );

  test(
    'decides neither how a job ends nor about other queues',
    asShop(async (tx) => {
      await refused(tx, `insert into jobs (queue, kind, status) values ('media', 'image', 'completed')`);
      await refused(tx, `insert into jobs (queue, kind, attempt) values ('media', 'image', 3)`);
      await refused(tx, `insert into jobs (id, queue, kind) values (1, 'media', 'image')`);
      await refused(tx, `insert into jobs (queue, kind) values ('cleanup', 'stories')`);
      await refused(tx, `insert into media_jobs (kind) values ('image')`);
      await refused(tx, `insert into media_jobs_live (kind) values ('image')`);
    }),
  );

  test(
    'sees no row even when it is allowed to read',
    trying(async (tx) => {
      await runFile(tx, 'enqueue/app_role.sql');
      await tx.query('grant select on jobs, publish_jobs, job_errors to shop; set local role shop');
      assert.deepEqual(
        await rows(
          tx,
          `select id from jobs union all select id from publish_jobs union all select job_id from job_errors`,
        ),
        [],
      );
    }),
  );
});

suite('on Supabase', () => {
  const onSupabase = (role: string, work: (tx: Tx) => Promise<void>) =>
    trying(async (tx) => {
      await addSupabaseRoles(tx);
      // As `prisma migrate reset` has it put back.
      for (const what of ['tables', 'functions', 'sequences'])
        await tx.query(`grant all on all ${what} in schema public to anon, authenticated`);
      await runFile(tx, 'enqueue/supabase.sql');
      await tx.query(`set local role ${role}`);
      await work(tx);
    });

  test(
    'service_role attaches a file, reads all, changes jobs and settings',
    onSupabase('service_role', async (tx) => {
      const [attached] = await rows(tx, `select attach_file('lots/4711/front.jpg') as id`);
      const [job] = await rows(
        tx,
        `select j.status, f.source_key, f.publish_status
                                    from publish_jobs j join auction_files f on f.id::text = j.file_id
                                      where j.id = ${attached!['id']}`,
      );
      assert.deepEqual(job, { status: 'pending', source_key: 'lots/4711/front.jpg', publish_status: 'pending' });
      assert.equal((await rows(tx, `select from dead_letters`)).length, 2);
      const queues = await rows(tx, `select name from queues`);
      assert.ok(queues.length >= 6);
      assert.equal((await rows(tx, `select from queue_depth`)).length, queues.length);
      await runFile(tx, 'enqueue/media.sql');
      await runFile(tx, 'operate/set_schedule.sql');
      await tx.query(`select run_schedule(name) from schedules`);
      assert.equal(
        (
          await rows(
            tx,
            `select from schedule_status
              where last_status = 'pending' and name !~ '^(cleanup|analytics)[.]'`,
          )
        ).length,
        1,
      );
      await runFile(tx, 'operate/retry_failed.sql');
      await runFile(tx, 'operate/pause_queue.sql');
      await tx.query(`delete from jobs where status = 'completed'`);
      // As a client that waits does.
      await tx.query(`insert into listeners (id, until) values (gen_random_uuid(), now())`);
      await tx.query(`delete from listeners`);
      for (const { name } of queues)
        await tx.query(`insert into ${name}_jobs (kind, dedupe_key) values ('nobody', 'k')`);
      assert.deepEqual(await rows(tx, `select take_tokens('vendor', 1, 20) as wait_ms`), [{ wait_ms: 0 }]);
      assert.deepEqual(await runFile(tx, 'monitor/workers_alive.sql').then((workers) => workers.length), 1);
    }),
  );

  for (const role of ['anon', 'authenticated'])
    test(
      `${role} does nothing`,
      onSupabase(role, async (tx) => {
        await refused(tx, `select from jobs`);
        await refused(tx, `select from queue_depth`);
        await refused(tx, `select from dead_letters`);
        await refused(tx, `select from schedule_status`);
        await refused(tx, `insert into publish_jobs default values`);
        await refused(tx, `truncate jobs`);
        await refused(tx, `select attach_file('x')`);
        // Indexes call it, with the rights of whoever writes to the table.
        assert.deepEqual(await exposed(tx, role, { theirs: [] }), ['object_names(text[],jsonb): execute']);
      }),
    );
});
