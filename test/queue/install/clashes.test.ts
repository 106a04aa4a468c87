import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { suite, test, type TestContext } from 'node:test';
import { createClient } from '../../../worker/base/db/db.ts';
import { UsageError } from '../../../worker/base/errors.ts';
import { query } from '../../../worker/base/db/sql.ts';
import { install } from '../../../worker/queue/install/install.ts';
import { createDatabase, type TestDatabase } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';
import { rolledBack } from '../../support/sql-files.ts';
import { statementOf } from '../../support/statement.ts';

// What is in the way of the migrations is found before anything is made, and what is locked is waited for without
// holding anybody up.

async function databaseWith(t: TestContext, sql: string): Promise<TestDatabase> {
  const db = await createDatabase({ from: 'template0' });
  t.after(() => db.drop());
  await db.query(sql);
  return db;
}

/** All objects of the database that are not of Postgres itself. */
const objects = async (db: TestDatabase) =>
  (
    await db.query(
      `select n.nspname, c.relname, (select string_agg(attname, ',') from pg_attribute where attrelid = c.oid)
         from pg_namespace n left join pg_class c on c.relnamespace = n.oid where n.nspname !~ '^(pg_|information_)'
           order by 1, 2`,
    )
  ).rows;

suite('refused, in one error that names all, with nothing made', () => {
  const cases: Record<string, { given: string; says: RegExp[] }> = {
    'tables, views, sequences, types, functions and indexes of our names': {
      given: `create table jobs (id integer); create view workers as select 1 as n; create sequence queues;
              create type schedules as enum ('a');
              create function announce(integer) returns integer language sql as 'select 1';
                create table mine (id integer); create index rate_limits on mine (id);
              create table media_jobs_live (n integer)`,
      says: [
        /table jobs/,
        /view workers/,
        /sequence queues/,
        /type schedules/,
        /function announce/,
        /index rate_limits/,
        /table media_jobs_live/,
      ],
    },
    'ids that no job could name, or that name several rows': {
      given: `create table media (id numeric primary key); create table auction_files (id text)`,
      says: [
        /media\.id is numeric: jobs can name rows by uuid, text, varchar, bigint or integer/,
        /auction_files\.id is not unique/,
      ],
    },
    'no id, no table': {
      given: `create table media (key text); create view auction_files as select 1 as id`,
      says: [/table media has no column id/, /auction_files is no table/],
    },
    'statuses that lack our values: an enum, a check, a short text, a domain': {
      given: `create type s as enum ('PENDING', 'DONE'); create table media (id text primary key, status s);
              create table auction_files (id bigint primary key,
                publish_status text check (publish_status in ('pending', 'published')))`,
      says: [
        /media\.status \(s\) does not accept 'PROCESSING', 'READY', 'FAILED'/,
        /auction_files\.publish_status \(text\) does not accept 'processing', 'failed'/,
      ],
    },
    'statuses that are too short, or of a domain': {
      given: `create domain d as text check (value <> 'FAILED'); create table media (id text primary key, status d);
              create table auction_files (id bigint primary key, publish_status varchar(9))`,
      says: [
        /media\.status \(d\) does not accept 'FAILED'/,
        /publish_status \(character varying\(9\)\) does not accept 'processing'/,
      ],
    },
    'columns of ours with another type, or that cannot be written': {
      given: `create table media (id text primary key, url jsonb, thumbnails text, processed_at date,
              source_key text generated always as (id) stored);
              create table auction_files (id bigint primary key, width text, deleted_at boolean)`,
      says: [
        /media\.url is jsonb: Rowmill needs text/,
        /media\.thumbnails is text: Rowmill needs jsonb/,
        /media\.processed_at is date: Rowmill needs timestamptz/,
        /media\.source_key is generated/,
        /auction_files\.width is text: Rowmill needs integer/,
        /auction_files\.deleted_at is boolean/,
      ],
    },
    'a schema of the name that tickets get': {
      given: `create schema rowmill_tickets; create table rowmill_tickets.migrations (id integer)`,
      says: [/schema rowmill_tickets, where the tickets of public would be, exists already/],
    },
  };
  for (const [name, { given, says }] of Object.entries(cases))
    test(name, async (t) => {
      const db = await databaseWith(t, given);
      const before = await objects(db);
      await assert.rejects(install(db.url), (error) => {
        assert.ok(error instanceof UsageError, String(error));
        assert.match(error.message, /nothing was changed/);
        assert.match(error.message, /ROWMILL_SCHEMA=rowmill/);
        for (const line of says) assert.match(error.message, line);
        return true;
      });
      assert.deepEqual(await objects(db), before);
    });
});

test('tables of a role that may only make tables are no tables of ours, and its code does not run', async (t) => {
  const thief = `planter_${randomUUID().slice(0, 8)}`;
  const db = await databaseWith(t, `create role ${thief}; grant create on schema public to ${thief}`);
  const planted = {
    // A sequence keeps what it was told, also of a transaction that is rolled back.
    auction_files: `create table auction_files (id bigint primary key, publish_status text check (nextval('ran') > 0))`,
    media: `create table media (id bigint primary key, status text check (nextval('ran') > 0))`,
    rowmill_migrations: `create table rowmill_migrations (name text, checksum text, applied_at timestamptz,
                         check (nextval('ran') > 0))`,
  };
  await db.query(`set role ${thief}; create sequence ran; reset role`);
  for (const [name, table] of Object.entries(planted)) {
    await db.query(`set role ${thief}; ${table}; reset role`);
    await assert.rejects(install(db.url), (error) => {
      assert.ok(error instanceof UsageError, String(error));
      assert.match(error.message, new RegExp(`able ${name}.* is owned by ${thief}`));
      return true;
    });
    await db.query(`drop table ${name}`);
  }
  const { rows } = await db.query('select is_called from ran');
  assert.deepEqual(rows, [{ is_called: false }]);
  await db.query(`drop owned by ${thief}; drop role ${thief}`);
});

test('a role that holds any lock which it may take keeps nobody from migrating, nor from upkeep', async (t) => {
  const stranger = `stranger_${randomUUID().slice(0, 8)}`;
  const db = await databaseWith(t, `create role ${stranger} login password 'sesame'`);
  const theirs = new URL(db.url);
  Object.assign(theirs, { username: stranger, password: 'sesame' });
  const holder = createClient(theirs.href);
  await holder.connect();
  t.after(() => holder.end());
  await holder.query(
    `select pg_advisory_lock(hashtextextended('rowmill ' || what || ' public', 0))
     from unnest(array['migrate', 'upkeep']) what`,
  );
  const installs = await Promise.all([install(db.url), install(db.url), install(db.url)]);
  assert.equal(installs.filter((applied) => applied.length > 5).length, 1);
  const lock = statementOf('worker/queue/fleet/upkeep.sql', 'upkeep_lock');
  const turn = () => rolledBack(db, async (tx) => (await query<{ ours: boolean }>(tx, lock))[0]!.ours);
  const oneAtATime = () =>
    rolledBack(db, async (tx) => {
      assert.equal((await query<{ ours: boolean }>(tx, lock))[0]!.ours, true);
      assert.equal(await turn(), false);
    });
  await oneAtATime();
  await holder.end();
  await holder.end();
  await eventually(oneAtATime);
  await rolledBack(db, async (tx) => {
    await query(tx, lock);
    const { rows } = await tx.query('select pg_current_xact_id_if_assigned() as xid');
    assert.deepEqual(rows, [{ xid: null }], 'a look writes nothing');
  });
  await db.query(`drop role ${stranger}`);
});

test('a table of media that fits is taken as it is: statuses of more values, columns of kindred types', async (t) => {
  const db = await databaseWith(
    t,
    `create type s as enum ('DRAFT', 'PENDING', 'PROCESSING', 'READY', 'FAILED');
     create table media (id text primary key, status s not null default 'DRAFT', url varchar(500), metadata json,
       processed_at timestamp(3), check (status <> 'DRAFT' or url is null));
     create table auction_files (id integer primary key, width bigint, bytes integer,
       publish_status text not null default 'draft' check (publish_status <> 'lost'))`,
  );
  assert.ok((await install(db.url)).length > 5);
});

test('a table that somebody holds locked is waited for, and inserts into it go on meanwhile', async (t) => {
  const db = await databaseWith(
    t,
    `create table media (id bigserial primary key); create table auction_files (id bigserial primary key)`,
  );
  const [holder, user] = [await db.connect(), await db.connect()];
  await holder.query('begin; select count(*) from media');
  let installed = false;
  const installing = install(db.url).then((applied) => {
    installed = true;
    return applied;
  });
  const waits = `select from pg_locks where not granted and relation = 'media'::regclass`;
  await eventually(async () => assert.equal((await db.query(waits)).rowCount, 1), 60_000);
  let held = true;
  const inserted = user.query(`insert into media default values`).then(() => (held = false));
  await eventually(() => assert.equal(held, false), 3_000).catch(() => {});
  const heldUp = held;
  assert.equal(installed, false);
  await holder.query('commit');
  await inserted;
  for (const client of [holder, user]) client.release();
  assert.ok((await installing).length > 5);
  assert.equal(heldUp, false, 'an insert waited for the migration');
});
