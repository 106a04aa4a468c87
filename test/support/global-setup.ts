import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createClient } from '../../worker/base/db.ts';
import { superuserUrlOf } from '../../worker/embedded/connection.ts';
import { openEmbeddedPostgres } from '../../worker/embedded/postgres.ts';
import { install } from '../../worker/queue/install.ts';
import { databaseUrl, template } from './database.ts';

/** Before all test files: one Postgres (TEST_DATABASE_URL, else an embedded one) with one migrated database that each file copies. */
let close = async () => {};

export async function globalSetup(): Promise<void> {
  if (!process.env['TEST_DATABASE_URL']) {
    const dir = await mkdtemp(join(tmpdir(), 'rowmill-test-'));
    // As root the server runs as another user.
    await chmod(dir, 0o755);
    const postgres = await openEmbeddedPostgres(dir, { durable: false });
    process.env['TEST_DATABASE_URL'] = await superuserUrlOf(postgres.dataPath, postgres.port);
    close = async () => {
      await postgres.stop();
      await rm(dir, { recursive: true, force: true });
    };
  }
  const client = createClient(databaseUrl());
  await client.connect();
  await client.query(`drop database if exists ${template} with (force)`);
  await client.query(`create database ${template}`);
  await client.end();
  await install(databaseUrl(template));
}

export async function globalTeardown(): Promise<void> {
  await close();
}
