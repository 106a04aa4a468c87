import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { readStatements } from '../../worker/base/db/sql.ts';
import { inChunk } from '../../worker/jobs/cleanup/sweep/steps.ts';
import { install } from '../../worker/queue/install/install.ts';
import { loadRegistry } from '../../worker/queue/registry.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { rowsRead, type PlanNode } from '../support/plans.ts';
import { rolledBack, sqlFiles } from '../support/sql-files.ts';

// The statements of sql/cleanup/ against the reference tables: that they fit, and that a chunk reads little more than
// it deletes, also where the statistics say that the tables are empty.

const folder = join(import.meta.dirname, '../../sql/cleanup');
let db: TestDatabase;
before(async () => {
  db = await createDatabase();
  await install(db.url, ['messenger']);
});
after(() => db.drop());

for (const { path, text } of sqlFiles('sql/cleanup'))
  suite(path, () => {
    const file = path.split('/').at(-1)!;
    for (const [name, statement] of readStatements(folder, file))
      test(`${name} fits the messenger's tables`, () =>
        rolledBack(db, async (tx) => {
          await tx.query(`prepare tried as ${statement.text}`);
          await tx.query('deallocate tried');
        }));

    test('belongs to a cleanup, and says first what it is for', async () => {
      assert.ok((await loadRegistry()).has(`cleanup.${file.replace('.sql', '')}`));
      assert.match(text, /^-- [A-Z]/);
    });
  });

suite('a chunk reads little more than it deletes', () => {
  const rows = 6_000;
  const chunk = 100;
  const user = '00000000-0000-4000-8000-000000000001';
  const old = `now() - interval '500 days' + n * interval '1 minute'`;
  const fills: Record<string, string> = {
    stories: `insert into stories (user_id, created_at) select '${user}', ${old} from generate_series(1, ${rows}) n;
              insert into media_objects (key, story_id) select 'k' || id, id from stories`,
    messages: `insert into messages (media_type, created_at) select 'image', ${old} from generate_series(1, ${rows}) n;
               insert into media_objects (key, message_id) select 'k' || id, id from messages`,
    temp_files: `insert into temp_files (key, created_at) select 'k' || n, ${old} from generate_series(1, ${rows}) n`,
    sessions: `insert into sessions (user_id, device_id, last_active_at) select '${user}', '${user}', ${old}
      from generate_series(1, ${rows}) n;
               insert into session_tokens (session_id, token_hash) select id, '' from sessions`,
    prekeys: `insert into prekeys (device_id, prekey_id, public_key, used_at)
              select '${user}', n, decode('05' || repeat('00', 32), 'hex'), ${old} from generate_series(1, ${rows}) n;
              insert into prekey_refill_requests (device_id, missing, reason, fulfilled_at)
                select '${user}', 1, 'request_mode', ${old} from generate_series(1, ${rows}) n`,
    notifications: `insert into notifications (id, message_id, channel, created_at)
              select 'n' || n, 'm' || n, 'email', ${old} from generate_series(1, ${rows}) n;
              insert into notification_deliveries (notification_id, channel, recipient_hash)
                select id, 'email', 'x' from notifications`,
    soft_deleted_files: `insert into auction_files (deleted_at) select ${old} from generate_series(1, ${rows}) n`,
  };

  before(async () => {
    // So that the statistics say that the tables are empty, and go on saying so.
    const tables = [
      'stories',
      'messages',
      'temp_files',
      'sessions',
      'session_tokens',
      'media_objects',
      'auction_files',
      'storage_deletions',
      'prekeys',
      'prekey_refill_requests',
      'notifications',
      'notification_deliveries',
    ];
    for (const table of tables) await db.query(`alter table ${table} set (autovacuum_enabled = off)`);
    await db.query(
      `insert into users (id) values ('${user}'); insert into devices (id, user_id) values ('${user}', '${user}')`,
    );
    for (const fill of Object.values(fills)) await db.query(fill);
    for (const table of tables.toReversed()) await db.query(`delete from ${table}`);
    await db.query(`vacuum (analyze, truncate false) ${tables.join(', ')}`);
    for (const fill of Object.values(fills)) await db.query(fill);
  });

  for (const kind of Object.keys(fills))
    test(`${kind}, also of a table whose statistics say that it is empty`, async () => {
      for (const [name, { text, params }] of readStatements(folder, `${kind}.sql`)) {
        if (!/^(purge|remove)/.test(name)) continue;
        const read = await inChunk(db, async (tx) => {
          const values: Record<string, unknown> = { cutoff: new Date(), after: '-infinity', chunk };
          const { rows: plans } = await tx.query(
            `explain (analyze, format json) ${text}`,
            params.map((param) => values[param]),
          );
          await tx.query('delete from storage_deletions');
          return rowsRead((plans[0]['QUERY PLAN'] as { Plan: PlanNode }[])[0]!.Plan);
        });
        assert.ok(read > chunk, `${name} found something to do`);
        assert.ok(read < chunk * 40, `${name} read ${read} rows for ${chunk}`);
      }
    });
});
