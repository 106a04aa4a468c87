import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '../../support/eventually.ts';
import { add, reads } from '../../support/jobs.ts';
import { createRig } from '../../support/worker.ts';

// Anybody who may connect can send notifications on the workers' channel.

test('a worker claims anew when the tables of tickets have changed, and not because somebody says so', async () => {
  const rig = await createRig();
  try {
    await rig.db.query(`
      create table pools_seen (pool text primary key);
      create function see_pools() returns trigger language plpgsql as $$ begin
        insert into pools_seen select unnest(new.pools) on conflict do nothing;
        return null;
      end $$;
      create trigger see_pools after insert or update on workers for each row execute function see_pools()`);
    await rig.worker({ 'media.any': async () => null }, { QUEUES: 'media' });
    await eventually(async () => assert.equal((await seen(rig.db)).length, 1));

    const say = `notify rowmill_workers, 'migrated'`;
    for (let times = 0; times < 20; times++) {
      await rig.db.query(say);
      await reads(rig.db, await add(rig.db, 'media', 'any'), { status: 'completed' });
    }
    assert.equal((await seen(rig.db)).length, 1);

    await rig.db.query(
      `insert into rowmill_tickets.migrations (id) select max(id) + 1 from rowmill_tickets.migrations`,
    );
    await rig.db.query(say);
    await eventually(async () => assert.equal((await seen(rig.db)).length, 2));
    await reads(rig.db, await add(rig.db, 'media', 'any'), { status: 'completed' });
    assert.equal((await seen(rig.db)).length, 2);
  } finally {
    await rig.close();
  }
});

async function seen(db: { query(text: string): Promise<{ rows: { pool: string }[] }> }): Promise<string[]> {
  return (await db.query('select pool from pools_seen')).rows.map(({ pool }) => pool);
}
