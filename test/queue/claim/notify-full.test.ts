import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createClient, createPool, type Db } from '../../../worker/base/db/db.ts';
import { checkNotifications } from '../../../worker/cli/doctor/postgres.ts';
import { eventually } from '../../support/eventually.ts';
import { add, reads } from '../../support/jobs.ts';
import { silent } from '../../support/log.ts';
import { spawnWorker } from '../../support/processes.ts';
import { startOwnServer, type OwnServer } from '../../support/server.ts';

// A session that listens and stays in a transaction fills the server's queue of notifications: then each commit with a
// NOTIFY fails.

let server: OwnServer;
let db: Db;
before(async () => {
  server = await startOwnServer(['max_notify_queue_pages = 64']);
  db = createPool(server.url, { max: 3, log: silent });
});
after(async () => {
  await db.end();
  await server.close();
});

test('jobs are inserted, changed and run while the queue of notifications is full', async (t) => {
  // So that the incident lasts until it is seen.
  const worker = await spawnWorker(server.url, { INCIDENT_CHECK_INTERVAL: '600000' });
  t.after(() => worker.end('SIGKILL'));
  const listener = createClient(server.url);
  await listener.connect();
  t.after(() => listener.end());
  for (const statement of ['listen anything', 'begin', 'select 1']) await listener.query(statement);
  const fill = (bytes: number) => db.query(`select pg_notify('anything', repeat('x', $1) || random())`, [bytes]);
  for (const bytes of [7_000, 10])
    await assert.rejects(
      async () => {
        for (;;) await fill(bytes);
      },
      { message: /too many notifications/ },
    );

  const id = await add(db, 'media', 'slow');
  await reads(db, id, { status: 'completed' });
  await db.query(`update media_jobs set status = 'pending' where id = $1`, [id]);
  await reads(db, id, { status: 'completed', attempt: 2 });
  await db.query(`update queues set paused = true where name = 'publish'`);
  await db.query(`insert into listeners (id, until) values (gen_random_uuid(), now() + interval '1 minute')`);
  await db.query(`update media_jobs set status = 'cancelled' where id = $1 and status = 'pending'`, [
    await add(db, 'media', 'slow', { run_at: new Date(Date.now() + 3_600_000) }),
  ]);

  // Incidents are told of by the same channel.
  const held = await add(db, 'media', 'suspended_once');
  await reads(db, held, { status: 'pending', error_code: 'mail_suspended' });
  // As if a check of the dependency had passed: told until the incident has ended, because one telling may be lost.
  await eventually(async () =>
    assert.equal(
      (await db.query('update incidents set probe_at = now(), check_ok = true where resolved_at is null')).rowCount,
      0,
    ),
  );
  await reads(db, held, { status: 'completed', attempt: 2, retry_count: 0 });

  const { rows } = await db.query('select pg_notification_queue_usage() as usage');
  assert.equal(checkNotifications(rows[0]).state, 'warn');
  assert.equal(checkNotifications({ usage: 0 }).state, 'ok');
});
