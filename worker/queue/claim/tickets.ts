import { EventEmitter } from 'node:events';
import { Logger, runMigrations } from 'graphile-worker';
import type { Client, Db } from '../../base/db/db.ts';
import type { Names } from '../../base/db/names.ts';
import { quoted } from '../../base/db/sql.ts';

/**
 * Migrates graphile-worker's tables, in the tickets' schema and in the transaction that `client` is in. The schema and
 * the table of its migrations are created here, as its documentation allows: `create schema if not exists` needs a
 * right that the owner of an existing schema may lack. https://worker.graphile.org/docs/schema
 */
export async function migrateTickets(client: Client, { tickets, workers }: Names): Promise<void> {
  const { rows } = await client.query<{ exists: boolean }>(
    'select exists (select from pg_namespace where nspname = $1) as exists',
    [tickets],
  );
  if (!rows[0]?.exists) await client.query(`create schema ${quoted(tickets)}`);
  const revision = `select to_regclass('${quoted(tickets).replaceAll("'", "''")}.migrations') is not null as exists`;
  if (!(await client.query<{ exists: boolean }>(revision)).rows[0]?.exists)
    await client.query(
      `create table ${quoted(tickets)}.migrations (
         id int primary key, ts timestamptz not null default now(), breaking boolean not null default false)`,
    );

  let migrated = false;
  const inside = inTransactionOf(client, () => (migrated = true));
  // graphile-worker qualifies its own names. So with this search_path it calls no function or operator that another
  // role may have created in the schema of our tables.
  const [found] = (await client.query<{ path: string }>(`select current_setting('search_path') as path`)).rows;
  const setPath = (path: string) => client.query(`select set_config('search_path', $1, true)`, [path]);
  await setPath('pg_catalog, pg_temp');
  await runMigrations({ pgPool: inside, schema: tickets, logger: new Logger(() => () => {}) });
  await indexClaims(client, tickets);
  await closeObjects(client, tickets);
  await setPath(found!.path);
  if (migrated)
    await client.query(`select pg_notify($1, 'migrated') where pg_notification_queue_usage() < 0.9::float8`, [workers]);
}

/**
 * The index by which a queue's tickets are claimed (graphile-pool.sql). It takes the place of one of graphile-worker's
 * that its statements do not use, so that a ticket costs no more than before. It is made here, not by a migration:
 * whoever restores a backup may leave the tickets' schema out.
 */
async function indexClaims(client: Client, tickets: string): Promise<void> {
  const { rows } = await client.query<{ exists: boolean }>(
    `select to_regclass(pg_catalog.format('%I.rowmill_claims', $1::text)) is not null as exists`,
    [tickets],
  );
  if (rows[0]!.exists) return;
  const schema = quoted(tickets);
  await client.query(
    `drop index if exists ${schema}.jobs_no_queue_index;
     create index rowmill_claims on ${schema}._private_jobs (task_id, priority, run_at)
       where is_available and job_queue_id is null`,
  );
}

/**
 * Takes the functions and tables from PUBLIC and from Supabase's roles, as close_objects does in our own schema. Nobody
 * else has USAGE of the schema of tickets either; neither is relied on alone.
 */
async function closeObjects(client: Client, tickets: string): Promise<void> {
  const { rows } = await client.query<{ role: string }>(
    `select distinct coalesce(quote_ident(r.rolname), 'public') as role
       from (select coalesce(proacl, acldefault('f', proowner)) as rights, pronamespace as schema from pg_proc
             union all select relacl, relnamespace from pg_class) o
       cross join aclexplode(o.rights) a
       left join pg_roles r on r.oid = a.grantee
      where o.schema = to_regnamespace(quote_ident($1))::oid and (a.grantee = 0 or r.rolname = any($2))`,
    [tickets, ['anon', 'authenticated']],
  );
  for (const { role } of rows)
    for (const objects of ['functions', 'tables', 'sequences'])
      await client.query(`revoke all on all ${objects} in schema ${quoted(tickets)} from ${role}`);
}

/**
 * A pool with one client, which is in our transaction: its transactions become savepoints. It also swallows the
 * notification of migrations: that channel is the same for all schemas, and every worker of every application on
 * graphile-worker in this database would shut down.
 */
function inTransactionOf(client: Client, told: () => void): Db {
  const instead: Record<string, string> = {
    begin: 'savepoint graphile_worker',
    commit: 'release savepoint graphile_worker',
    rollback: 'rollback to savepoint graphile_worker',
  };
  async function query(statement: string | { text: string }, values?: unknown[]): Promise<unknown> {
    if (values?.[0] === 'worker:migrate') return told();
    return client.query((typeof statement === 'string' && instead[statement]) || (statement as string), values);
  }
  const inside = Object.assign(new EventEmitter(), { query, release() {} });
  const pool = Object.assign(new EventEmitter(), { connect: async () => inside, query, options: { max: 1 } });
  // graphile-worker warns about a pool without listeners.
  pool.on('error', () => {}).on('connect', () => {});
  return pool as unknown as Db;
}
