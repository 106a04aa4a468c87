import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { App } from '../../worker/app.ts';
import { loadRegistry } from '../../worker/queue/registry.ts';
import { add, type Row } from './jobs.ts';
import { startS3Server, type AskedRequest, type S3Server } from './s3-server.ts';
import { createRig, type Rig } from './worker.ts';

/** A worker of the media queue with all its kinds, S3 over a socket, and a database. */
export type MediaRig = Rig & {
  app: App;
  s3: S3Server;
  /** TEMP_DIR. */
  temp: string;
  sql(text: string, values?: unknown[]): Promise<Row[]>;
  put(key: string, body: Buffer): Promise<void>;
  /**
   * Stores an original and adds its job, with a payload that names it; what S3 is asked from then on is in
   * `s3.requests`.
   */
  submit(kind: string, key: string, original: Buffer, payload?: object): Promise<number>;
  /** What was stored, or tried to. */
  puts(): AskedRequest[];
};

export async function createMediaRig(env: Record<string, string> = {}): Promise<MediaRig> {
  const [rig, s3, temp] = await Promise.all([createRig(), startS3Server(), mkdtemp(join(tmpdir(), 'media-'))]);
  await rig.db.query(`update queues set backoff_ms = 100 where name = 'media'`);
  const { app } = await rig.worker(await loadRegistry(), { QUEUES: 'media', ...s3.env, TEMP_DIR: temp, ...env });
  const put = (key: string, body: Buffer) => app.storage.put(key, body, { contentType: 'application/octet-stream' });
  return {
    ...rig,
    app,
    s3,
    temp,
    put,
    sql: async (text, values = []) => (await rig.db.query<Row>(text, values)).rows,
    async submit(kind, key, original, payload = {}) {
      await put(key, original);
      s3.requests.length = 0;
      return add(rig.db, 'media', kind, { payload: { s3Key: key, ...payload } });
    },
    puts: () => s3.requests.filter(({ method }) => method === 'PUT'),
    async close() {
      await rig.close();
      await Promise.all([s3.close(), rm(temp, { recursive: true })]);
    },
  };
}

/** The key that a request to the bucket is about. */
export const keyOf = ({ url }: AskedRequest): string =>
  decodeURIComponent(new URL(url, 'http://s3').pathname.slice('/rowmill-test/'.length));
