import assert from 'node:assert/strict';
import { createClient } from '../../worker/base/db/db.ts';
import type { Storage } from '../../worker/base/storage/storage.ts';
import type { Report } from '../../worker/jobs/cleanup/sweep/run.ts';
import { install } from '../../worker/queue/install/install.ts';
import { loadRegistry } from '../../worker/queue/registry.ts';
import { reads, add, type Row } from './jobs.ts';
import { createRig, type Env, type Rig } from './worker.ts';

/** The reference messenger in a database of its own, with a worker that cleans it up. */
export type Messenger = {
  rig: Rig;
  storage: Storage;
  sql(text: string, values?: unknown[]): Promise<Row[]>;
  /** The first column of the first row. */
  one(text: string, values?: unknown[]): Promise<any>;
  /** Adds a cleanup job, and gives its result when it has completed. */
  cleanUp(kind: string, payload?: Record<string, unknown>): Promise<Report>;
  /** The keys that storage holds, in order. */
  keys(prefix?: string): Promise<string[]>;
  close(): Promise<void>;
};

export async function createMessenger(env: Env = {}): Promise<Messenger> {
  const rig = await createRig();
  await install(rig.db.url, ['messenger']);
  await rig.db.query(`update schedules set enabled = false; update queues set backoff_ms = 50 where name = 'cleanup'`);
  const { app } = await rig.worker(await loadRegistry(), { QUEUES: 'cleanup', ...env });
  const sql = async (text: string, values: unknown[] = []) => (await rig.db.query<Row>(text, values)).rows;
  return {
    rig,
    storage: app.storage,
    sql,
    one: async (text, values) => Object.values((await sql(text, values))[0] ?? {})[0],
    async cleanUp(kind, payload = {}) {
      const id = await add(rig.db, 'cleanup', kind, { payload });
      const row = await reads(rig.db, id, { status: 'completed' }, 60_000);
      return row['result'];
    },
    async keys(prefix = '') {
      const keys = [];
      for await (const { key } of app.storage.list(prefix)) keys.push(key);
      return keys;
    },
    close: rig.close,
  };
}

/** Stores an object of so many bytes under each key. */
export async function putAll(storage: Storage, keys: string[], bytes = 10): Promise<void> {
  const body = Buffer.alloc(bytes, 'x');
  for (let at = 0; at < keys.length; at += 50)
    await Promise.all(keys.slice(at, at + 50).map((key) => storage.put(key, body, { contentType: 'text/plain' })));
}

export type Sizes = { messages: number; stories: number; sessions: number; objects: number };

/**
 * A messenger that has been used for two years, a third of everything due to be cleaned up. Every kind of row that must
 * stay is among them: pinned messages, messages under legal hold, stories that are deleted already, devices with
 * several sessions, objects that two messages share.
 * @returns the keys that rows refer to
 */
export async function fillMessenger(url: string, sizes: Sizes): Promise<string[]> {
  const db = createClient(url);
  await db.connect();
  try {
    await db.query(`set synchronous_commit = off; set session_replication_role = replica`);
    const users = Math.max(10, Math.round(sizes.sessions / 20));
    await db.query(
      `insert into users (id, name) select md5('u' || n)::uuid, 'user ' || n from generate_series(1, $1::int) n`,
      [users],
    );
    await db.query(
      `insert into devices (id, user_id, last_seen_at)
       select md5('d' || n)::uuid, md5('u' || 1 + n % $1::int)::uuid, now() - interval '100 days'
         from generate_series(1, $1::int * 5) n`,
      [users],
    );
    await db.query(
      `insert into sessions (id, user_id, device_id, last_active_at)
       select md5('s' || n)::uuid, d.user_id, d.id, now() - case when n % 3 = 0
         or n % ($1::int * 5) < $1::int then interval '30 days 1 minute' + n * interval '1 s'
              else n % 29 * interval '1 day' end
         from generate_series(1, $2::int) n join devices d on d.id = md5('d' || 1 + n % ($1::int * 5))::uuid`,
      [users, sizes.sessions],
    );
    await db.query(
      `insert into session_tokens (session_id, token_hash) select id, decode(md5(id::text), 'hex') from sessions`,
    );
    await db.query(
      `update devices d set last_seen_at = s.at
       from (select device_id, max(last_active_at) as at from sessions group by 1) s where s.device_id = d.id`,
    );
    await db.query(
      `insert into messages (id, sender_id, body, media_type, media_url, thumbnail_url, metadata, pinned, legal_hold,
       created_at)
       select md5('m' || n)::uuid, md5('u' || 1 + n % $1::int)::uuid, 'message ' || n, m.type,
              case when m.type is not null then 'https://cdn.example.com/uploads/' || n end, null,
              '{"width": 1}', n % 70 = 0, n % 110 = 0,
              now() - case when n % 3 = 0 or n % ($1::int * 5) < $1::int
                            then interval '365 days 1 minute' + n * interval '1 s'
                           else (n % 8000) * interval '1 hour' end
         from generate_series(1, $2::int) n, lateral (select case when n % 10 = 0 then 'image' end) m (type)`,
      [users, sizes.messages],
    );
    await db.query(
      `insert into stories (id, user_id, media_url, created_at, deleted_at)
       select md5('t' || n)::uuid, md5('u' || 1 + n % $1::int)::uuid, 'https://cdn.example.com/stories/' || n,
              now() - case when n % 3 = 0 or n % ($1::int * 5) < $1::int
                            then interval '24 hours 1 minute' + n * interval '1 s'
                           else n % 1430 * interval '1 minute' end,
              case when n % 50 = 0 then now() end
         from generate_series(1, $2::int) n`,
      [users, sizes.stories],
    );
    await db.query(
      `update users u set active_stories = s.stories
         from (select user_id, count(*) as stories from stories where deleted_at is null group by 1) s
           where s.user_id = u.id`,
    );
    // A quarter of the objects each: of messages, of stories, of temporary files, and nobody's.
    const each = Math.floor(sizes.objects / 4);
    const inserted = [
      `insert into media_objects (key, bytes, message_id)
       select 'uploads/' || n || '.jpg', 10, m.id from generate_series(1, $1::int) n
         join messages m on m.id = md5('m' || 10 * (1 + n % ($2::int / 10)))::uuid returning key`,
      `insert into media_objects (key, bytes, story_id)
       select 'stories/' || n || '.jpg', 10, t.id from generate_series(1, $1::int) n
         join stories t on t.id = md5('t' || 1 + n % $2::int)::uuid where t.deleted_at is null returning key`,
      `insert into temp_files (key, bytes, created_at)
       select 'temp/' || n || '.bin', 10, now() - case when n % 3 = 0
         or n % ($1::int * 5) < $1::int then interval '25 hours' else interval '23 hours' end
         from generate_series(1, $1::int) n where $2::int > 0 returning key`,
    ];
    const keys = [];
    for (const [n, text] of inserted.entries()) {
      const { rows } = await db.query<{ key: string }>(text, [each, [sizes.messages, sizes.stories, 1][n]]);
      keys.push(...rows.map(({ key }) => key));
    }
    // A forwarded picture: an old message and a new one share it.
    const { rowCount } = await db.query(
      `insert into media_objects (key, bytes, message_id)
       select o.key, o.bytes, md5('m10')::uuid from media_objects o join messages m on m.id = o.message_id
        where m.created_at < now() - interval '365 days' and not m.pinned and not m.legal_hold order by o.key limit 5`,
    );
    assert.equal(rowCount, 5);
    return keys;
  } finally {
    await db.end();
  }
}
