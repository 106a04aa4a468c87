import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient, type Client } from '../../worker/base/db/db.ts';
import { LocalStorage } from '../../worker/base/storage/local.ts';
import { statementOf } from '../support/statement.ts';
import { install } from '../../worker/queue/install/install.ts';
import { fillMessenger } from '../support/messenger.ts';
import { spawnRowmill } from '../support/processes.ts';
import { now } from './clock.ts';
import type { Bench } from './measure.ts';
import { atLeast, atMost, type Result } from './result.ts';
import type { Database } from './server.ts';

const chunk = 1_000;
const budgetMs = 200;
/** Of what is due, the oldest first; ours and the bare loop in turns. */
const parts = 8;

type Kind = { kind: string; hours: number; rows: number; due: string };
type Rate = { rows: number; seconds: number };

/**
 * A messenger of so many messages, a tenth as many stories and objects, a twentieth as many sessions: rows a second of
 * each cleanup against a bare loop of the same statements and the same storage, in turns on the same tables, while a
 * writer inserts.
 */
export async function cleanup({ server, rows, notes }: Bench): Promise<Result[]> {
  const sizes = { messages: rows, stories: rows / 10, sessions: rows / 20, objects: rows / 10 };
  const db = await server.create('rowmill');
  const dir = join(server.dir, 'cleanup');
  await install(db.url, ['messenger']);
  await db.query('update schedules set enabled = false');
  console.error(`  filling: ${rows} messages`);
  await store(dir, await fillMessenger(db.url, sizes));
  await db.query('vacuum (analyze)');
  await db.query('checkpoint');

  const kinds: Kind[] = [
    {
      kind: 'stories',
      hours: 24,
      rows: sizes.stories,
      due: `stories where deleted_at is null and created_at < $1::timestamptz - interval '1 day'`,
    },
    {
      kind: 'sessions',
      hours: 720,
      rows: sizes.sessions,
      due: `sessions where last_active_at < $1::timestamptz - interval '30 days'`,
    },
    {
      kind: 'messages',
      hours: 8_760,
      rows: sizes.messages,
      due: `messages where media_url is not null and not (pinned or legal_hold)
            and created_at < $1::timestamptz - interval '365 days'`,
    },
  ];
  const kept = await countKept(db);
  const writer = await startWriter(db.url);
  const worker = await spawnRowmill(db.url, {
    DATA_DIR: dir,
    QUEUES: 'cleanup',
    SHUTDOWN_TIMEOUT: '1000',
  });
  const results: Result[] = [];
  try {
    for (const one of kinds) results.push(...(await compare(db, one, dir, writer)));
  } finally {
    worker.kill('SIGTERM');
    await writer.stop();
  }
  const begun = (await db.query<{ at: string }>('select now()::text as at')).rows[0]!.at;
  for (const { kind, due } of kinds) await assertNone(db, kind, due, begun);
  const left = await countKept(db);
  if (left < kept) throw new Error(`${kept - left} rows are gone that should have stayed`);
  notes.push(
    `cleanup: the writer inserted ${writer.written()} times; ` +
      `the slowest of its statements beside the bare loop took ${writer.slowest.bare.toFixed(0)} ms`,
  );
  await db.drop();
  return [
    ...results,
    atMost(1, `cleanup, a writer's slowest statement, against a budget`, {
      ours: writer.slowest.ours,
      anchor: budgetMs,
      unit: 'ms',
    }),
  ];
}

async function store(dir: string, keys: string[]): Promise<void> {
  const folders = new Set(keys.map((key) => dirname(key)));
  for (const folder of folders) await mkdir(join(dir, 'storage', folder), { recursive: true });
  for (let at = 0; at < keys.length; at += 200)
    await Promise.all(keys.slice(at, at + 200).map((key) => writeFile(join(dir, 'storage', key), '0123456789')));
}

async function compare(db: Database, { kind, hours, rows }: Kind, dir: string, writer: Writer): Promise<Result[]> {
  const ours: Rate[] = [];
  const bare: Rate[] = [];
  for (let part = 0; part < parts; part++) {
    // Due rows lie a second apart, the oldest as many as there are rows.
    const olderThan = hours + Math.ceil(((rows / 3_600) * (parts - 1 - part)) / parts);
    const isOurs = part % 2 === 1;
    console.error(`  ${part + 1} of ${parts}: ${kind}, ${isOurs ? 'rowmill' : 'bare'}`);
    writer.beside(isOurs ? 'ours' : 'bare');
    if (isOurs) ours.push(await runOurs(db, kind, olderThan));
    else bare.push(await runBare(db.url, kind, olderThan, dir));
    writer.beside('nothing');
  }
  const rate = (all: Rate[]) =>
    all.reduce((sum, one) => sum + one.rows, 0) / all.reduce((sum, one) => sum + one.seconds, 0);
  return [
    atLeast(0.8, `cleanup, ${kind}, against a bare loop`, { ours: rate(ours), anchor: rate(bare), unit: 'rows/s' }),
  ];
}

/** From the start of the run to its end, as it wrote them down. */
async function runOurs(db: Database, kind: string, olderThan: number): Promise<Rate> {
  const payload = JSON.stringify({ olderThan: `${olderThan} hours`, chunk, seconds: 540 });
  const { rows } = await db.query<{ id: number }>(
    `insert into cleanup_jobs (kind, payload) values ($1, $2) returning id`,
    [kind, payload],
  );
  for (;;) {
    const found = await db.query<Rate>(
      `select deleted as rows, extract(epoch from finished_at - started_at)::float8 as seconds
         from cleanup_logs where job_id = $1 and finished_at is not null`,
      [rows[0]!.id],
    );
    if (found.rows[0]) return found.rows[0];
    await sleep(20);
  }
}

/** The same statements, one after another, with the plans that suit them; then storage. */
async function runBare(url: string, kind: string, olderThan: number, dir: string): Promise<Rate> {
  const client = createClient(url);
  const storage = new LocalStorage({ provider: 'local', dir: join(dir, 'storage') });
  await client.connect();
  await client.query(
    'set enable_seqscan = off; set enable_bitmapscan = off; set enable_hashjoin = off; ' +
      'set enable_mergejoin = off; set jit = off',
  );
  const { text, params } = statementOf(`sql/cleanup/${kind}.sql`, 'purge');
  const began = now();
  const { rows } = await client.query<{ cutoff: Date }>(`select now() - $1 * interval '1 hour' as cutoff`, [olderThan]);
  let [total, after] = [0, '-infinity' as Date | string];
  for (;;) {
    const values: Record<string, unknown> = { cutoff: rows[0]!.cutoff, after, chunk };
    const { rows: done } = await client.query<{ deleted: number; reached: Date }>({
      name: kind,
      text,
      values: params.map((param) => values[param]),
    });
    total += done[0]!.deleted;
    after = done[0]!.reached;
    if (done[0]!.deleted < chunk) break;
  }
  await deleteBare(client, storage);
  await client.end();
  return { rows: total, seconds: (now() - began) / 1_000 };
}

async function deleteBare(client: Client, storage: LocalStorage): Promise<void> {
  for (;;) {
    const { rows } = await client.query<{ id: number; key: string }>(
      'select id, key from storage_deletions order by id limit 1000',
    );
    if (rows.length === 0) return;
    await storage.delete(rows.map(({ key }) => key));
    await client.query('delete from storage_deletions where id = any($1)', [rows.map(({ id }) => id)]);
  }
}

/** Rows that no cleanup may touch: young ones, and those to be kept. */
async function countKept(db: Database): Promise<number> {
  const { rows } = await db.query<{ kept: number }>(
    `select (select count(*) from stories where created_at >= now() - interval '20 hours')
          + (select count(*) from sessions where last_active_at >= now() - interval '29 days')
          + (select count(*) from messages) + (select count(*) from messages where media_url is not null
            and (pinned or legal_hold)) as kept`,
  );
  return rows[0]!.kept;
}

async function assertNone(db: Database, kind: string, due: string, at: string): Promise<void> {
  const { rows } = await db.query<{ left: number }>(`select count(*) as left from ${due}`, [at]);
  // What became due since the last run began is not its own.
  if (rows[0]!.left > 60) throw new Error(`${rows[0]!.left} ${kind} are due still`);
}

type Writer = Awaited<ReturnType<typeof startWriter>>;

/** Inserts into all tables, a statement every few milliseconds, and remembers how long the slowest took beside what. */
async function startWriter(url: string) {
  const client = createClient(url);
  await client.connect();
  const slowest = { ours: 0, bare: 0, nothing: 0 };
  let beside: keyof typeof slowest = 'nothing';
  let [going, written] = [true, 0];
  const timed = async (text: string, values: unknown[]) => {
    const [began, where] = [now(), beside];
    await client.query(text, values);
    slowest[where] = Math.max(slowest[where], now() - began);
  };
  const ended = (async () => {
    const users = (await client.query<{ id: string }>('select id from users limit 1000')).rows.map(({ id }) => id);
    for (; going; written++) {
      const user = users[written % users.length];
      await timed(`insert into messages (sender_id, media_type, media_url) values ($1, 'image', 'new')`, [user]);
      await timed(
        `insert into media_objects (key, message_id) select $1, id from messages where sender_id = $2 limit 1`,
        [`uploads/new-${written}`, user],
      );
      await timed(
        `with s as (insert into stories (user_id) values ($1) returning user_id)
                   update users set active_stories = active_stories + 1 where id in (select user_id from s)`,
        [user],
      );
      await timed(
        `insert into sessions (user_id, device_id) select user_id, id from devices where user_id = $1 limit 1`,
        [user],
      );
      await sleep(5);
    }
    await client.end();
  })();
  return {
    slowest,
    written: () => written,
    beside: (what: keyof typeof slowest) => void (beside = what),
    stop: () => ((going = false), ended),
  };
}
