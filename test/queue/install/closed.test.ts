import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, suite, test } from 'node:test';
import { createPool, type Db, type Tx } from '../../../worker/base/db/db.ts';
import { install } from '../../../worker/queue/install/install.ts';
import { createDatabase, type TestDatabase } from '../../support/database.ts';
import { attempts, bringAlong, exposed, misuses, tryAll } from '../../support/intruder.ts';
import { silent } from '../../support/log.ts';
import { addSupabaseRoles, rolledBack, runFile } from '../../support/sql-files.ts';

// Every function, table, view and sequence of ours, as the catalogue has them, against roles that may only add jobs, or
// nothing. What a later migration makes is in here with no edit. What is meant to be open is `open`.

/** Indexes call it, with the rights of whoever writes to the table. */
const called = 'object_names(text[],jsonb): execute';
const open: Record<string, string[]> = {
  shop: [
    'job_ids: usage',
    'jobs: insert (queue, kind, payload, file_id, priority, run_at, expires_at, max_retries, dedupe_key, traceparent)',
    called,
    'publish_jobs: insert (kind, payload, file_id, priority, run_at, expires_at, max_retries, dedupe_key, traceparent)',
  ],
  anon: [called],
  authenticated: [called],
};

/** Of the user's, in the same schema since before ours. */
const theirs = ['media', 'theirs'];

// Supabase's default privileges: nothing by now; everything in older projects.
for (const [privileges, schema] of [
  ['now', 'public'],
  ['then', 'The App'],
] as const) {
  suite(`with the default privileges of ${privileges}, in the schema ${schema}`, () => {
    const owner = `owner_${randomUUID().slice(0, 8)}`;
    const path = `set search_path to "${schema}"`;
    let server: TestDatabase;
    before(async () => {
      server = await createDatabase({ from: 'template0' });
      await addSupabaseRoles(server);
      await server.query(ground(owner, schema, privileges === 'then'));
      const url = new URL(server.url);
      url.searchParams.set('options', `-c role=${owner} -c search_path="${schema.replaceAll(' ', '\\ ')}"`);
      const db: Db = createPool(url.href, { max: 1, log: silent });
      await db.query(`
        create table media (id uuid primary key default gen_random_uuid());
        create function theirs() returns integer language sql as 'select 1';
        grant select on media to anon`);
      await install(url.href, ['messenger']);
      await db.query(`select create_queue('thumbs', batch_size => 10, max_retries => 3, backoff_ms => 5000)`);
      await db.end();
    });
    after(async () => {
      await server.query(`drop owned by ${owner} cascade; drop role ${owner}`);
      await server.drop();
    });

    /** Runs `work` as a superuser until it says otherwise, beside a role of sql/enqueue/app_role.sql. */
    const trying = (work: (tx: Tx) => Promise<void>) => () =>
      rolledBack(server, async (tx) => {
        await tx.query(`${path}; create role shop login; set local role ${owner}`);
        await runFile(tx, 'enqueue/app_role.sql', { 'create role shop login;': '' });
        await tx.query('reset role');
        await work(tx);
      });

    test(
      'nobody but the owner has a right that is not meant to be open, and what was there before has those it had',
      trying(async (tx) => {
        const { rows } = await tx.query(`select has_table_privilege('anon', 'media', 'select') as media,
                                                has_function_privilege('anon', 'theirs()', 'execute') as theirs`);
        assert.deepEqual(rows, [{ media: true, theirs: true }]);
        for (const [role, rights] of Object.entries(open)) {
          assert.deepEqual(await exposed(tx, role, { theirs }), rights, role);
          const others = await tx.query(
            `select nspname from pg_namespace n where nspname ~ 'tickets$'
             and (has_schema_privilege($1, oid, 'usage, create')
                  or exists (select from pg_proc f
                              where f.pronamespace = n.oid and has_function_privilege($1, f.oid, 'execute'))
                  or exists (select from pg_class c where c.relnamespace = n.oid and c.relkind = 'r'
                                                      and has_table_privilege($1, c.oid, 'select, insert')))`,
            [role],
          );
          assert.deepEqual(others.rows, []);
        }
      }),
    );

    for (const [role, rights] of Object.entries(open))
      test(
        `${role} is refused everywhere else`,
        trying(async (tx) => {
          await bringAlong(tx, role);
          const list = await attempts(tx, { theirs });
          assert.ok(list.length > 400, `${list.length} attempts`);
          const closed = list.filter(({ needs }) => !rights.some((right) => right.startsWith(needs)));
          assert.deepEqual(await tryAll(tx, role, closed), {});
        }),
      );

    test(
      'a function that runs as its owner refuses tables that are not ours, also where it may be called',
      trying(async (tx) => {
        await bringAlong(tx, 'shop');
        await tx.query(`grant execute on all functions in schema "${schema}" to shop`);
        const list = await misuses(tx, { theirs });
        assert.ok(list.length > 400, `${list.length} attempts`);
        assert.deepEqual(await tryAll(tx, 'shop', list), {});
      }),
    );
  });
}

const ground = (owner: string, schema: string, everything: boolean) => `
  create role ${owner};
  do $$ begin execute format('grant create on database %I to ${owner}', current_database()); end $$;
  create schema if not exists "${schema}";
  grant all on schema "${schema}" to ${owner};
  grant usage on schema "${schema}" to public, anon, authenticated, service_role;
  ${
    everything
      ? ['tables', 'functions', 'sequences']
          .map(
            (what) =>
              `alter default privileges for role ${owner} grant all on ${what} to anon, authenticated, service_role;`,
          )
          .join('\n')
      : ''
  }`;
