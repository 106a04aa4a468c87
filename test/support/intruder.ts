import type { Tx } from '../../worker/base/db/db.ts';
import { loadStatements, query } from '../../worker/base/db/sql.ts';

/** One statement, and the right that it needs: `jobs: truncate`. */
export type Attempt = { needs: string; statement: string };

const sql = loadStatements(import.meta.dirname, 'intruder.sql', [
  'exposed',
  'attempts',
  'misuses',
  'columns',
  'try_all',
]);

/** The tables and functions that stood in the schema before ours. */
type Theirs = { theirs: string[] };

/** What `role` may do with what is ours, in the words of GRANT. */
export async function exposed(tx: Tx, role: string, { theirs }: Theirs): Promise<string[]> {
  return (await query<{ right: string }>(tx, sql.exposed, { role, theirs })).map((row) => row.right);
}

/** All that can be tried on everything. */
export const attempts = (tx: Tx, { theirs }: Theirs) => query<Attempt>(tx, sql.attempts, { theirs });

/** Each function that runs as its owner, put as a trigger on tables of the intruder's own. */
export const misuses = (tx: Tx, { theirs }: Theirs) =>
  query<Attempt>(tx, sql.misuses, { theirs, tables: [own, ...lookAlikes].map((name) => `pg_temp.${name}`) });

const own = 'm';
const lookAlikes = ['media_jobs_live', 'x_jobs_live', 'auction_files', 'prekeys'];

const targets = ['text', 'uuid', 'bigint', 'integer', 'smallint', 'boolean', 'json', 'jsonb', 'timestamptz'];

/**
 * Makes what `role` brings along: tables of its own whose columns are of a type with casts of its own. A cast that runs
 * as anybody else than `role` says so (SQLSTATE P0666).
 */
export async function bringAlong(tx: Tx, role: string): Promise<void> {
  const columns = await query<{ name: string }>(tx, sql.columns);
  const fields = columns.map(({ name }) => `${name} pg_temp.evil default row(1)::pg_temp.evil`).join(', ');
  await tx.query(`
    create schema lair authorization ${role};
    set local role ${role};
    create function pg_temp.listening() returns trigger language plpgsql as 'begin return null; end';
    create function pg_temp.attempt(statement text) returns text language plpgsql as $$
    begin
      execute statement;
      return 'done';
    exception when others then
      return sqlstate || ' ' || sqlerrm;
    end $$;
    create type pg_temp.evil as (a integer);
    ${targets
      .map(
        (target) => `
    create function pg_temp.to_${target}(pg_temp.evil) returns ${target} language plpgsql as $$
    begin
      if current_user <> '${role}' then
        raise exception 'the cast to ${target} ran as %', current_user using errcode = 'P0666';
      end if;
      return null;
    end $$;
    create cast (pg_temp.evil as ${target}) with function pg_temp.to_${target}(pg_temp.evil) as implicit;`,
      )
      .join('')}
    ${[own, ...lookAlikes]
      .map((name) => `create temporary table ${name} (${fields}); insert into pg_temp.${name} default values;`)
      .join('\n')}
    reset role`);
}

/** Tries all as `role`. @returns those that were not refused for want of a right */
export async function tryAll(tx: Tx, role: string, list: Attempt[]): Promise<Record<string, string>> {
  await tx.query(`set local role ${role}`);
  const rows = await query<Attempt & { came: string }>(tx, sql.try_all, { attempts: JSON.stringify(list) });
  await tx.query('reset role');
  return Object.fromEntries(
    rows
      .filter(({ came }) => !came.startsWith('42501'))
      .map(({ needs, statement, came }) => [`${needs}: ${statement}`, came]),
  );
}
