import { randomUUID } from 'node:crypto';
import { withSchema } from '../../worker/base/address.ts';
import { createClient, createPool, type Client, type Db } from '../../worker/base/db/db.ts';
import { makeHostile } from './hostile.ts';
import { silent } from './log.ts';

export const template = 'rowmill_template';

/** The address of a database on the test server. */
export function databaseUrl(name?: string): string {
  const given = process.env['TEST_DATABASE_URL'];
  if (!given) throw new Error('Run the tests by npm test: it starts Postgres for them.');
  const url = new URL(given);
  if (name) url.pathname = `/${name}`;
  return url.href;
}

/** For a test's own connections: a busy machine takes longer than a worker waits for one. */
export const patient = { connectTimeoutMs: 60_000 };

export type TestDatabase = Db & { url: string; drop(): Promise<void> };

/** A migrated database of one's own, copied from the template. */
export async function createDatabase({
  from = template,
  schema,
}: { from?: string; schema?: string | undefined } = {}): Promise<TestDatabase> {
  const name = `t_${randomUUID().replaceAll('-', '')}`;
  await asAdmin(async (client) => {
    // A copy by file costs a quarter of one by block. Before 15 Postgres knows no other.
    const { rows } = await client.query(`select current_setting('server_version_num')::int >= 150000 as choice`);
    await client.query(`create database ${name} template ${from} ${rows[0].choice ? 'strategy file_copy' : ''}`);
  });
  if (process.env['TEST_HOSTILE']) await asAdmin((client) => client.query(makeHostile(name)));
  const url = withSchema(databaseUrl(name), schema);
  const db = createPool(url, { max: 5, log: silent, ...patient });
  return Object.assign(db, {
    url,
    async drop() {
      await db.end();
      await asAdmin((client) => client.query(`drop database ${name} with (force)`));
    },
  });
}

async function asAdmin(work: (client: Client) => Promise<unknown>): Promise<void> {
  const client = createClient(databaseUrl(), patient);
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}
