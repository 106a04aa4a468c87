import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { PassThrough } from 'node:stream';
import { after, before, test } from 'node:test';
import type { Db } from '../../../worker/base/db/db.ts';
import { createLog } from '../../../worker/base/log.ts';
import { namesOf } from '../../../worker/base/db/names.ts';
import { Membership } from '../../../worker/queue/fleet/liveness.ts';
import { Runner } from '../../../worker/queue/claim/runner.ts';
import { createDatabase, type TestDatabase } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';
import { add } from '../../support/jobs.ts';
import { silent } from '../../support/log.ts';

let db: TestDatabase;
before(async () => {
  db = await createDatabase();
});
after(() => db.drop());

test('the tickets of a pool that is given up are unlocked, even when Postgres is away at that moment', async () => {
  let failures = 3;
  const flaky = new Proxy(db, {
    get(target, name) {
      if (name !== 'query') return Reflect.get(target, name) as unknown;
      return (...given: [{ text: string }]) => {
        if (given[0].text.includes('force_unlock_workers') && failures-- > 0)
          throw Object.assign(new Error('terminating connection'), { code: '57P01' });
        return target.query(...given);
      };
    },
  }) as Db;
  const fleet = new Membership({
    databaseUrl: db.url,
    names: namesOf('public'),
    instance: randomUUID(),
    db: flaky,
    log: silent,
    queues: ['media'],
    running: () => 0,
    onNews: () => {},
    onBack: () => {},
  });
  await fleet.join();
  await fleet.pools.add('pool-1');
  await add(db, 'media', 'any');
  await db.query(`update rowmill_tickets._private_jobs set locked_by = 'pool-1', locked_at = now()`);

  await fleet.pools.drop('pool-1', 'media');

  const { rows } = await db.query(
    `select (select array_agg(locked_by) from rowmill_tickets.jobs) as locked_by, (select pools from workers) as pools`,
  );
  assert.deepEqual(rows, [{ locked_by: [null], pools: [] }]);
  await fleet.leave(true);
});

test('a runner that has nothing in hand ends by itself, and is not given up', async () => {
  const lines = new PassThrough();
  const runner = new Runner({
    queue: 'media',
    schema: namesOf('public').tickets,
    slots: 2,
    db,
    log: createLog({ logLevel: 'debug', secrets: [] }, lines),
    take: async () => {},
    room: () => 2,
    waking: { start() {}, stop() {}, found() {}, exhausted() {} },
    pools: { add: async () => {}, drop: async () => {} },
  });
  runner.start();
  await eventually(() => assert.ok(runner.claimedAt));
  await runner.stop();
  assert.doesNotMatch(String(lines.read() ?? ''), /did not stop in time/);
});
