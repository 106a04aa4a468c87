import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { createClient } from '../../worker/base/db/db.ts';
import { judgeCapacity } from '../../worker/cli/doctor/capacity.ts';
import { checkDirect } from '../../worker/cli/doctor/direct.ts';
import { checkHorizon, judgeHorizon } from '../../worker/cli/doctor/horizon.ts';
import { checkSearch } from '../../worker/cli/doctor/search.ts';
import { checkNode } from '../../worker/cli/doctor/host.ts';
import { checkClock, checkVersion } from '../../worker/cli/doctor/postgres.ts';
import { createDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { startPooler } from '../support/pooler.ts';
import { createDoctor, type Doctor } from '../support/doctor.ts';

// `rowmill doctor`: what it finds about Postgres, and that it says how to fix it.

let doctor: Doctor;
before(async () => {
  doctor = await createDoctor();
});
after(() => doctor.close());
const examine = (env?: Record<string, string>) => doctor.examine(env);

test('a database that cannot be had is found, and the rest is still looked at', async () => {
  const wrong = new URL(doctor.db.url);
  wrong.password = 'sesame-sesame';
  const { code, found } = await examine({ DATABASE_URL: wrong.href });
  assert.equal(code, 1);
  assert.match(found['Postgres']!.detail, /password authentication failed/);
  assert.equal(found['Postgres']!.fix, 'check the user and the password in DATABASE_URL');
  assert.equal(found['storage']!.state, 'ok');
  assert.doesNotMatch(JSON.stringify(found), /sesame/);
});

test('migrations that are missing or changed', async (t) => {
  const empty = await createDatabase({ from: 'template0' });
  t.after(() => empty.drop());
  const missing = await examine({ DATABASE_URL: empty.url });
  assert.equal(missing.code, 1);
  assert.match(missing.found['migrations']!.detail, /^not applied: 0000_closed\.sql, 0001/);
  assert.equal(missing.found['migrations']!.fix, 'run rowmill migrate');
  assert.match(missing.found['rights']!.detail, /may make the tables/);

  const own = await createDatabase();
  t.after(() => own.drop());
  await own.query(`update rowmill_migrations set checksum = 'x' where name = '0002_triggers.sql'`);
  const changed = await examine({ DATABASE_URL: own.url });
  assert.equal(changed.code, 1);
  assert.equal(changed.found['migrations']!.detail, 'changed after they were applied: 0002_triggers.sql');

  await own.query(`insert into rowmill_migrations (name, checksum) values ('0003_views.sql', 'x')`);
  const unreleased = await examine({ DATABASE_URL: own.url });
  assert.equal(unreleased.code, 1);
  assert.equal(unreleased.found['migrations']!.detail, 'an unreleased version made these tables: 0003_views.sql');
});

test('a role that may not work, or from whom row level security hides the jobs', async (t) => {
  const role = `r_${randomUUID().replaceAll('-', '')}`;
  await doctor.db.query(`create role ${role} login password 'sesame'`);
  t.after(() => doctor.db.query(`drop owned by ${role}; drop role ${role}`));
  const url = new URL(doctor.db.url);
  [url.username, url.password] = [role, 'sesame'];
  const none = await examine({ DATABASE_URL: url.href });
  assert.equal(none.code, 1);
  assert.match(none.found['rights']!.detail, /may not read and write the tables/);

  await doctor.db.query(`grant select, insert, update, delete on all tables in schema public to ${role}`);
  await doctor.db.query(`grant usage on schema rowmill_tickets to ${role}`);
  const blind = await examine({ DATABASE_URL: url.href });
  assert.equal(blind.code, 1);
  assert.match(blind.found['rights']!.detail, /row level security hides all jobs/);
});

test('a transaction pooler is a failure, and the port of one a warning', async (t) => {
  const pooler = await startPooler(doctor.db.url, { mode: 'transaction', size: 3 });
  t.after(pooler.close);
  const { code, found } = await examine({ DATABASE_URL: pooler.url });
  assert.equal(code, 1);
  assert.match(found['connection']!.detail, /^goes through a transaction pooler/);
  assert.match(found['connection']!.fix!, /port 5432 and not 6543/);

  const sessions = [createClient(doctor.db.url), createClient(doctor.db.url)] as const;
  for (const session of sessions) await session.connect();
  t.after(() => Promise.all(sessions.map((session) => session.end())));
  const supabase = 'postgres://u:p@aws-0-eu-central-1.pooler.supabase.com:6543/postgres';
  assert.equal((await checkDirect(...sessions, supabase)).state, 'warn');
});

test('it says for how many processes there are connections', async (t) => {
  const limit = (name: string, most: number, in_use = 0) => ({ name, most, reserved: 3, in_use, ours: 1 });
  const one = 16;
  const roomOf = (...limits: Parameters<typeof judgeCapacity>[0]) => {
    const { state, detail } = judgeCapacity(limits, one);
    return `${state} ${/room for \w+ process(es)?/.exec(detail)![0]}`;
  };
  assert.equal(roomOf(limit('a', 3 * one + 2, 1)), 'ok room for 2 processes');
  assert.equal(roomOf(limit('a', 3 * one + 3, 1)), 'ok room for 3 processes');
  assert.equal(roomOf(limit('a', one + 3, 1), limit('b', 1_000, 1)), 'ok room for 1 process');
  assert.equal(roomOf(limit('a', 1_000, 1), limit('b', one + 3, 2)), 'warn room for 0 processes');
  assert.equal(roomOf(limit('a', 10, 50)), 'warn room for 0 processes');

  const { found } = await examine();
  const { rows } = await doctor.db.query('show max_connections');
  assert.match(
    found['capacity']!.detail,
    new RegExp(
      `of ${one} connections at most: max_connections is ${rows[0].max_connections}, \\d+ reserved, \\d+ in use`,
    ),
  );

  const role = `r_${randomUUID().replaceAll('-', '')}`;
  await doctor.db.query(`create role ${role} login password 'sesame' connection limit ${one - 1}`);
  t.after(() => doctor.db.query(`drop role ${role}`));
  const url = new URL(doctor.db.url);
  [url.username, url.password] = [role, 'sesame'];
  const limited = (await examine({ DATABASE_URL: url.href })).found['capacity']!;
  assert.equal(limited.state, 'warn');
  assert.match(limited.detail, new RegExp(`room for 0 .* role ${role} is ${one - 1}, 2 in use, 2 of them by Rowmill$`));
  assert.match(limited.fix!, /set DATABASE_CONNECTIONS=15/);
});

test('one connection is enough: what takes a second is left out, and says so', async (t) => {
  const role = `r_${randomUUID().replaceAll('-', '')}`;
  await doctor.db.query(`create role ${role} login password 'sesame' connection limit 1 bypassrls`);
  t.after(() => doctor.db.query(`drop owned by ${role}; drop role ${role}`));
  for (const schema of ['public', 'rowmill_tickets'])
    await doctor.db.query(`
      grant usage on schema ${schema} to ${role};
      grant all on all tables in schema ${schema} to ${role};
      grant execute on all functions in schema ${schema} to ${role}`);
  const url = new URL(doctor.db.url);
  [url.username, url.password] = [role, 'sesame'];
  const { found } = await examine({ DATABASE_URL: url.href });
  assert.equal(found['connection']!.state, 'warn');
  assert.match(
    found['connection']!.detail,
    /needs a second connection, and it failed. No connection is left: .*53300.*DATABASE_CONNECTIONS/,
  );
  assert.match(found['encryption']!.detail, /^none, and the connection stays on this machine/);
  assert.ok(found['notify'] && found['workers'], 'the rest was looked at');
});

test('it finds what holds back vacuum', async (t) => {
  const [open, looking] = [createClient(doctor.db.url), createClient(doctor.db.url)];
  for (const client of [open, looking]) await client.connect();
  t.after(() => Promise.all([open, looking].map((client) => client.end())));
  await open.query(`set application_name = 'monthly report'; begin isolation level repeatable read`);
  const { rows } = await open.query(`select pg_backend_pid() as pid, 'canary'`);
  const { pid } = rows[0];
  const look = async (seconds: number) =>
    (await checkHorizon(looking, { seconds, transactions: 100_000 })).filter(
      ({ state, detail }) => state === 'ok' || detail.includes(`pid ${pid} `),
    );

  const found = await eventually(async () => {
    const [warning] = await look(0.5);
    assert.equal(warning?.state, 'warn');
    return { ...warning, detail: warning.detail.replace(/\d+ s/, 'n s') };
  });
  assert.deepEqual(found, {
    name: 'vacuum',
    state: 'warn',
    detail:
      `held back for n s by an open transaction, pid ${pid} (monthly report): ` +
      'the live tables grow until that ends',
    fix: `let it commit, or end it: select pg_terminate_backend(${pid})`,
  });
  assert.deepEqual(await look(300), [
    { name: 'vacuum', state: 'ok', detail: 'nothing has held it back for more than 5 min' },
  ]);
  await open.query('commit');
  assert.deepEqual(
    (await look(0)).filter(({ state }) => state === 'warn'),
    [],
  );
});

test('prepared transactions, replication slots and standbys may hold back vacuum', () => {
  const holder = { name: "it's", pid: null, database: 'shop', age_s: null, transactions: 1_200_000 };
  const said = judgeHorizon(
    [
      { ...holder, kind: 'prepared', age_s: 7_200, transactions: 3 },
      { ...holder, kind: 'slot' },
      { ...holder, kind: 'standby', pid: 17 },
      { ...holder, kind: 'slot', transactions: 99_999 },
      { ...holder, kind: 'session', pid: 18, age_s: 299 },
    ],
    { seconds: 300, transactions: 100_000 },
  ).map(({ detail, fix }) => `${detail.replace(/^held back for |: the live tables.*/g, '')} | ${fix}`);
  assert.deepEqual(said, [
    "2 h by the prepared transaction 'it''s' | in database shop: commit prepared 'it''s', or rollback prepared 'it''s'",
    "1,200,000 transactions by the replication slot 'it''s' | end long queries on its standby; " +
      "if the standby is gone: select pg_drop_replication_slot('it''s')",
    "1,200,000 transactions by the standby 'it''s', pid 17 | " +
      'end long queries there, or set hot_standby_feedback = off there',
  ]);
});

test('indexes are offered where an archive is large, and asked for no more once they are there', async (t) => {
  const db = await createDatabase();
  t.after(() => db.drop());
  await db.query(`update pg_class set reltuples = 7400000 where relname in ('media_jobs_done', 'social_jobs_done')`);
  const { state, detail, fix } = await checkSearch(db);
  assert.equal(state, 'warn');
  assert.match(detail, /media_jobs_done \(about 7 million jobs\)/);
  for (const statement of fix!.split(': ')[1]!.split('; ')) await db.query(statement.replace('concurrently ', ''));
  await db.query(`update pg_class set reltuples = 7400000 where relname in ('media_jobs_done', 'social_jobs_done')`);
  assert.equal((await checkSearch(db)).state, 'ok');
});

test('versions of Postgres and Node, and clocks that differ', () => {
  const postgres = (version_num: number) => checkVersion({ version_num, version: 'x', database: 'd' }).state;
  assert.deepEqual([130_012, 140_001, 180_004, 190_000].map(postgres), ['fail', 'ok', 'ok', 'warn']);
  assert.deepEqual(
    ['22.1.0', '24.0.0', '25.2.0'].map((version) => checkNode(version).state),
    ['fail', 'ok', 'ok'],
  );
  const at = (ms: number) => new Date(1_000_000 + ms);
  assert.equal(checkClock(at(0), 999_990, 1_000_010).state, 'ok');
  // An answer that took ten seconds says nothing about five.
  assert.equal(checkClock(at(5_000), 995_000, 1_005_000).state, 'ok');
  assert.match(checkClock(at(60_000), 1_000_000, 1_000_010).detail, /60\.0 s behind the database/);
  assert.match(checkClock(at(-60_000), 1_000_000, 1_000_010).detail, /60\.0 s ahead of the database/);
});
