import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import sharp from 'sharp';
import type { Storage } from '../../worker/base/storage/storage.ts';
import { loadRegistry } from '../../worker/queue/registry.ts';
import { ffmpegEnv } from './clips.ts';
import type { Row } from './jobs.ts';
import { createRig, type Env, type Rig } from './worker.ts';

/** What every worker that makes thumbnails is told in tests. */
export const settings = { QUEUES: 'media', THUMBNAIL_SIZES: '150x150,64x100,400x400', MEDIA_MAX_MB: '3', ...ffmpegEnv };

/** A database, and a worker on it and on a storage. */
export type Bench = Rig & {
  storage: Storage;
  temp: string;
  sql(text: string, values?: unknown[]): Promise<Row[]>;
  /** Stores an original, and inserts its row of media. */
  upload(original?: Buffer, columns?: { source_key?: string | null }): Promise<{ id: string; key: string }>;
  /** Adds a job, as a message does. */
  add(payload: unknown, columns?: { file_id?: string; max_retries?: number; run_at?: Date }): Promise<number>;
  /** The row of media. */
  media(id: string): Promise<Row>;
};

export async function openBench(env: Env = {}): Promise<Bench> {
  const [rig, temp] = await Promise.all([createRig(), mkdtemp(join(tmpdir(), 'thumbnails-'))]);
  const sql: Bench['sql'] = async (text, values = []) => (await rig.db.query<Row>(text, values)).rows;
  await sql(`update queues set backoff_ms = 50 where name = 'media'`);
  const { app } = await rig.worker(await loadRegistry(), { ...settings, TEMP_DIR: temp, ...env });
  return {
    ...rig,
    temp,
    storage: app.storage,
    sql,
    async upload(original, { source_key } = {}) {
      const key = `uploads/user 123/${randomUUID()}.bin`;
      if (original) await app.storage.put(key, original, { contentType: 'application/octet-stream' });
      const values = [source_key === undefined ? key : source_key];
      const [row] = await sql(`insert into media (source_key) values ($1) returning id`, values);
      return { id: String(row!.id), key };
    },
    async add(payload, { file_id = null, max_retries = null, run_at = new Date(0) }: Record<string, unknown> = {}) {
      const [row] = await sql(
        `insert into media_jobs (kind, payload, file_id, max_retries, run_at) values ('thumbnails', $1, $2, $3, $4)
         returning id`,
        [JSON.stringify(payload), file_id, max_retries, run_at],
      );
      return row!.id;
    },
    media: async (id) => (await sql(`select * from media where id = $1`, [id]))[0]!,
    async close() {
      await rig.close();
      await rm(temp, { recursive: true });
    },
  };
}

type Saved = { url: string; key: string; width: number; height: number; bytes: number; format: string };
/** `100x150,64x96` */
export const shapes = (row: Row) =>
  (row['thumbnails'] as Saved[]).map(({ width, height }) => `${width}x${height}`).join();

/** Every thumbnail of the row is in storage as the row says it is, and has no metadata. */
export async function checkStored({ storage }: Bench, row: Row): Promise<void> {
  for (const saved of row['thumbnails'] as Saved[]) {
    assert.deepEqual(Object.keys(saved).toSorted(), ['bytes', 'format', 'height', 'key', 'url', 'width']);
    assert.equal(saved.url, storage.url(saved.key));
    const file = await buffer(await storage.get(saved.key));
    const { format, width, height, exif, xmp, icc } = await sharp(file).metadata();
    assert.deepEqual(
      { ...saved, format: saved.format === 'avif' ? 'heif' : saved.format },
      { url: saved.url, key: saved.key, width, height, bytes: file.length, format },
    );
    assert.deepEqual([exif, xmp, icc], [undefined, undefined, undefined]);
    assert.equal((await storage.head(saved.key))?.content_type, `image/${saved.format}`);
  }
}
