import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createClient } from '../../worker/base/db/db.ts';
import { messageOf } from '../../worker/base/errors.ts';
import { superuserUrlOf } from '../../worker/embedded/connection.ts';
import { openEmbeddedPostgres } from '../../worker/embedded/postgres.ts';
import { install } from '../../worker/queue/install/install.ts';
import { ffmpeg } from './clips.ts';
import { useCluster } from './cluster.ts';
import { databaseUrl, patient, template } from './database.ts';
import { makeHostile } from './hostile.ts';
import { scratch } from './scratch.ts';

// Each test file, and each worker that it starts, is a process: they compile our modules once for all of them.
process.env['NODE_COMPILE_CACHE'] ??= join(import.meta.dirname, '../../node_modules/.cache/node');

/**
 * Before all test files: one Postgres (TEST_DATABASE_URL, else an embedded one) with one migrated database that each
 * file copies.
 */
let close = async () => {};

export async function globalSetup(): Promise<void> {
  try {
    const looking = lookAtFfmpeg();
    if (!process.env['TEST_DATABASE_URL']) await startPostgres();
    await makeTemplate();
    await looking;
  } catch (error) {
    await close().catch(() => {});
    console.error(`The tests cannot begin. ${place()}: ${messageOf(error)}`);
    console.error(error);
    process.exit(1);
  }
}

export async function globalTeardown(): Promise<void> {
  await close();
}

async function startPostgres(): Promise<void> {
  const dir = await mkdtemp(join(scratch, 'rowmill-test-'));
  close = () => rm(dir, { recursive: true, force: true });
  // As root the server runs as another user.
  await chmod(dir, 0o755);
  await useCluster(dir);
  const postgres = await openEmbeddedPostgres(dir, { durable: false });
  process.env['TEST_DATABASE_URL'] = await superuserUrlOf(postgres.dataPath, postgres.port);
  close = async () => {
    await postgres.stop();
    await rm(dir, { recursive: true, force: true });
  };
}

/** Where there is none, those tests say so that need it. */
async function lookAtFfmpeg(): Promise<void> {
  const capabilities = await ffmpeg.capabilities().catch(() => undefined);
  if (capabilities) process.env['TEST_FFMPEG'] = JSON.stringify(capabilities);
}

async function makeTemplate(): Promise<void> {
  const client = createClient(databaseUrl(), patient);
  await client.connect();
  await client.query(`drop database if exists ${template} with (force)`);
  await client.query(`create database ${template}`);
  if (process.env['TEST_HOSTILE']) await client.query(makeHostile(template));
  await client.end();
  await install(databaseUrl(template));
}

/** Whose fault it may be, without the password. */
function place(): string {
  const given = process.env['TEST_DATABASE_URL'];
  if (!given) return 'The embedded Postgres';
  return `The Postgres at ${URL.canParse(given) ? new URL(given).host : 'TEST_DATABASE_URL'}`;
}
