import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import sodium from 'libsodium-wrappers';
import { loadRegistry } from '../../worker/queue/registry.ts';
import { add, reads } from '../support/jobs.ts';
import { createMessenger, type Messenger } from '../support/messenger.ts';

// Two jobs of a kind at once, on two workers: together they leave what one alone would.

let messenger: Messenger;
before(async () => {
  await sodium.ready;
  messenger = await createMessenger();
  await messenger.rig.worker(await loadRegistry(), { QUEUES: 'cleanup' });
  await messenger.sql(`insert into users (name) values ('Ada')`);
});
after(() => messenger.close());

async function twice(kind: string, payload: object): Promise<Record<string, number>[]> {
  const { db } = messenger.rig;
  const ids = [await add(db, 'cleanup', kind, { payload }), await add(db, 'cleanup', kind, { payload })];
  const ended = await Promise.all(ids.map((id) => reads(db, id, { status: 'completed' }, 60_000)));
  return ended.map(({ result }) => result);
}

const sum = (reports: Record<string, number>[], figure: string) =>
  reports.reduce((total, report) => total + report[figure]!, 0);

test('sessions: every device whose last session goes becomes inactive', async () => {
  const { sql, one } = messenger;
  await sql(
    `insert into devices (user_id, last_seen_at) select id, now() - interval '60 days'
     from users, generate_series(1, 2000)`,
  );
  // Those of one device lie far apart, so that they are in chunks of different jobs.
  await sql(`insert into sessions (user_id, device_id, last_active_at)
             select user_id, id,
               now() - interval '60 days' + (row_number() over (order by md5(id::text || n))) * interval '1 s'
               from devices, generate_series(1, 2) n`);
  assert.equal(sum(await twice('sessions', { chunk: 20 }), 'deleted'), 4000);
  assert.equal(await one(`select count(*) from devices where status = 'active'`), 0);
});

test('sessions: the next run corrects a device active without a session, unless seen lately', async () => {
  const { sql, cleanUp } = messenger;
  await sql(
    `update devices set status = 'active'; update devices set last_seen_at = now()
     where id = (select min(id::text)::uuid from devices)`,
  );
  const { scanned, deleted, remaining } = await cleanUp('sessions', { chunk: 300 });
  assert.deepEqual({ scanned, deleted, remaining }, { scanned: 0, deleted: 0, remaining: false });
  assert.deepEqual(await sql(`select status, count(*) from devices group by 1 order by 1`), [
    { status: 'active', count: 1 },
    { status: 'inactive', count: 1999 },
  ]);
  await sql(`delete from devices`);
});

test('prekeys: no device gets more than it lacks', async () => {
  const { sql, one } = messenger;
  const identity = Buffer.from(sodium.crypto_box_keypair().publicKey);
  await sql(`insert into devices (user_id, identity_key) select id, $1 from users, generate_series(1, 150)`, [
    identity,
  ]);
  assert.equal(sum(await twice('prekeys', {}), 'generated'), 1500);
  assert.equal(await one(`select max(n) from (select count(*) as n from prekeys group by device_id) k`), 10);
});

test('a row that names a story and a message goes with the second of them, also when both go at once', async () => {
  const { sql, rig } = messenger;
  await sql(`with u as (select id from users), n as (select generate_series(1, 2000) n),
                  m as (insert into messages (media_type, created_at) select 'image', now() - interval '400 days'
                    from n returning id),
                  s as (insert into stories (user_id, created_at) select u.id, now() - interval '2 days' from u, n
                    returning id)
             insert into media_objects (key, message_id, story_id)
             select 'stories/both-' || row_number() over (), m.id, s.id
               from (select id, row_number() over () as n from m) m
                 join (select id, row_number() over () as n from s) s using (n)`);
  const ids = [
    await add(rig.db, 'cleanup', 'stories', { payload: { chunk: 10 } }),
    await add(rig.db, 'cleanup', 'messages', { payload: { chunk: 10 } }),
  ];
  for (const id of ids) await reads(rig.db, id, { status: 'completed' }, 60_000);
  assert.deepEqual(
    await sql(`select o.message_id is null as message, s.deleted_at as story, count(*), min(o.key), max(o.key)
                 from media_objects o left join stories s on s.id = o.story_id group by 1, 2`),
    [],
  );
});

test('a day has 24 hours, whatever the time zone of the database', async () => {
  const { sql, one, cleanUp } = messenger;
  // Of the two, one changes its clocks within any half a year.
  for (const zone of ['Europe/Berlin', 'Pacific/Auckland']) {
    await sql(
      `do $$ begin execute format('alter database %I set timezone to %L', current_database(), '${zone}'); end $$`,
    );
    const now = Date.now();
    const { cutoff } = await cleanUp('sessions', { olderThan: '182 days', dryRun: true });
    assert.ok(Math.abs(Date.parse(cutoff) + 182 * 86_400_000 - now) < 60_000, cutoff);
  }
  assert.equal(await one('select count(*) from sessions'), 0);
});

test('old notifications go with what belongs to them, unless their job is still to run', async () => {
  const { sql, rig, cleanUp } = messenger;
  const job_id = await add(rig.db, 'notification', 'email', { run_at: 'infinity' });
  await sql(
    `insert into notifications (id, message_id, channel, job_id, created_at)
     values ('old', 'm1', 'email', null, now() - interval '400 days'),
            ('waits', 'm2', 'email', ${job_id}, now() - interval '400 days'),
            ('new', 'm3', 'email', null, now());
     insert into notification_deliveries (notification_id, channel, recipient_hash)
       select id, channel, 'x' from notifications;
     insert into notification_events (provider, provider_event_id, delivery_id, event, received_at)
       select 'twilio', notification_id, id, 'sent', now() from notification_deliveries union all
       select 'twilio', 'received', null, 'received', now() - interval '400 days'`,
  );
  const { scanned, deleted, remaining } = await cleanUp('notifications');
  assert.deepEqual([scanned, deleted, remaining], [1, 1, false]);
  assert.deepEqual(await sql('select provider_event_id as id from notification_events order by 1'), [
    { id: 'new' },
    { id: 'waits' },
  ]);
});

test('a table that a role without our rights planted under an expected name is not touched', async (t) => {
  const { sql, rig } = messenger;
  const role = `planter_${new URL(rig.db.url).pathname.slice(3, 11)}`;
  await sql(
    `create role ${role}; alter table stories rename to stories_of_ours; create table stories (like stories_of_ours);
      alter table stories owner to ${role}`,
  );
  t.after(() => sql(`drop table stories; alter table stories_of_ours rename to stories; drop role ${role}`));
  await sql(
    `insert into stories (id, user_id, created_at) select gen_random_uuid(), id, now() - interval '2 days' from users`,
  );
  for (const payload of [{}, { dryRun: true }]) {
    const id = await add(rig.db, 'cleanup', 'stories', { payload });
    const { error } = await reads(rig.db, id, { status: 'failed', error_code: 'cleanup_tables_foreign', attempt: 1 });
    assert.match(error, new RegExp(`stories belongs to ${role}`));
  }
  assert.deepEqual(await sql('select deleted_at from stories'), [{ deleted_at: null }]);
});
