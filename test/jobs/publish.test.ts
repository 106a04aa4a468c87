import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mkdtemp, rm } from 'node:fs/promises';
import { after, before, beforeEach, test } from 'node:test';
import sharp from 'sharp';
import { loadRegistry } from '../../worker/queue/registry.ts';
import { eventually } from '../support/eventually.ts';
import { slowIf } from '../support/everything.ts';
import { failsOnce, reads, rows, type Row } from '../support/jobs.ts';
import { startRaid, type FakeRaid } from '../support/raid.ts';
import { s3Failures, startS3Server, type S3Server } from '../support/s3-server.ts';
import type { TestDatabase } from '../support/database.ts';
import { createRig, type Env, type Rig } from '../support/worker.ts';

// publish.file end to end: a row, RAID over a socket, sharp, S3 over a socket.

let rig: Rig;
let raid: FakeRaid;
let s3: S3Server;
let temp: string;

const sql = async (text: string, values: unknown[] = []) => (await rig.db.query<Row>(text, values)).rows;
const photo = (width = 240, height = 160) =>
  sharp({
    create: { width, height, channels: 3, background: '#3070b0', noise: { type: 'gaussian', mean: 128, sigma: 30 } },
  })
    .jpeg()
    .toBuffer();

before(async () => {
  [rig, raid, s3, temp] = await Promise.all([
    createRig(),
    startRaid(),
    startS3Server(),
    mkdtemp(join(tmpdir(), 'publish-')),
  ]);
  await startPublisher(rig);
});
beforeEach(() => {
  s3.heal();
  s3.requests.length = 0;
});
after(async () => {
  await rig.close();
  await Promise.all([raid.close(), s3.close(), rm(temp, { recursive: true })]);
});

async function startPublisher({ db, worker }: Rig, env: Env = {}): Promise<void> {
  await db.query(`update queues set backoff_ms = 100 where name = 'publish'`);
  await worker(await loadRegistry(), {
    QUEUES: 'publish',
    RAID_PUB_ENDPOINT: raid.endpoint,
    RAID_PUBLISHER_SECRET: raid.secret,
    RAID_MAX_MB: '3',
    INCIDENT_CHECK_INTERVAL: '300',
    STORAGE_BUCKET: s3.config.bucket,
    STORAGE_ENDPOINT: s3.config.endpoint,
    AWS_REGION: s3.config.region,
    AWS_ACCESS_KEY_ID: s3.config.credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: s3.config.credentials.secretAccessKey,
    CDN_BASE_URL: 'https://cdn.example.com/media/',
    TEMP_DIR: temp,
    ...env,
  });
}

/** Puts an original on RAID, and inserts its file and its job in one transaction, as the attach function does. */
async function publish(
  key: string,
  original: Buffer | undefined,
  job: { max_retries?: number } = {},
  db: TestDatabase = rig.db,
): Promise<{ id: number; file: string }> {
  if (original) raid.files.set(key, original);
  const { rows: inserted } = await db.query<Row>(
    `with file as (insert into auction_files (source_key) values ($1) returning id)
     insert into publish_jobs (file_id, max_retries) select id, $2 from file returning id, file_id`,
    [key, job.max_retries ?? null],
  );
  return { id: inserted[0]!.id, file: inserted[0]!['file_id'] };
}

async function fileOf(file: string): Promise<Row> {
  return (await sql(`select * from auction_files where id = $1`, [file]))[0]!;
}

test('a file is published: variants stored, URLs on its row, its status followed all the way', async () => {
  await sql(`create table seen (status text, publish_status text)`);
  await sql(`create function look() returns trigger language plpgsql as $$ begin
      insert into seen select new.status, f.publish_status from auction_files f
        where f.id::text = new.file_id; return null; end $$`);
  await sql(`create trigger zz_look after insert or update on publish_jobs for each row execute function look()`);
  const { id, file } = await publish('lots/1/photo one.jpg', await photo(2000, 1000));
  const row = await reads(rig.db, id, { status: 'completed', attempt: 1, progress: 100, error_code: null });
  await sql(`drop trigger zz_look on publish_jobs`);

  const published = await fileOf(file);
  const { publish_status, width, height, display_width, display_height, thumb_width, thumb_height } = published;
  assert.deepEqual(
    { publish_status, width, height, display_width, display_height, thumb_width, thumb_height },
    {
      publish_status: 'published',
      width: 2000,
      height: 1000,
      display_width: 1600,
      display_height: 800,
      thumb_width: 400,
      thumb_height: 200,
    },
  );
  assert.match(
    published['display_url'],
    new RegExp(`^https://cdn.example.com/media/${file}/[0-9a-f]{20}-display.webp$`),
  );
  assert.match(published['thumb_url'], /-thumb\.webp$/);
  assert.ok(published['published_at']);
  assert.equal(row['result'].display.url, published['display_url']);

  const puts = s3.requests.filter(({ method }) => method === 'PUT');
  assert.equal(puts.length, 2);
  for (const { headers, body } of puts) {
    assert.equal(headers['content-type'], 'image/webp');
    assert.equal(headers['cache-control'], 'public, max-age=31536000, immutable');
    const meta = await sharp(body).metadata();
    assert.deepEqual([meta.format, meta.exif, meta.xmp, meta.icc], ['webp', undefined, undefined, undefined]);
  }
  assert.deepEqual(
    (await sql(`select distinct status, publish_status from seen order by 1`)).map((pair) => Object.values(pair)),
    [
      ['completed', 'published'],
      ['pending', 'pending'],
      ['processing', 'processing'],
    ],
  );
  await eventually(async () => assert.deepEqual(await readdir(temp), [], 'no temporary file is left'));
});

test('a re-run stores the same keys and the same URLs', async () => {
  const { id, file } = await publish('again', await photo());
  await reads(rig.db, id, { status: 'completed' });
  const first = await fileOf(file);
  await sql(`update publish_jobs set status = 'pending' where id = $1`, [id]);
  await reads(rig.db, id, { status: 'completed', attempt: 2 });
  const { published_at: _, ...rest } = await fileOf(file);
  const { published_at: __, ...expected } = first;
  assert.deepEqual(rest, expected);
  const keys = s3.requests.filter(({ method }) => method === 'PUT').map(({ url }) => url.split('?')[0]);
  assert.equal(keys.length, 4);
  assert.equal(new Set(keys).size, 2);
});

/**
 * What becomes of a job whose first attempt goes wrong: [name, what goes wrong, code, permanent?, words in the
 * message]. What fails for a moment is asked again within the attempt, so what passes goes on until an attempt failed.
 */
const failures: [string, () => void | Promise<void>, { code: string; permanent: boolean; says: RegExp }][] = [
  [
    'RAID answers 404',
    () => raid.fail('k', { status: 404 }),
    { code: 'raid_not_found', permanent: true, says: /source_key|404|no such/i },
  ],
  [
    'RAID answers 401 for this file alone',
    () => raid.fail('k', { status: 401 }),
    { code: 'raid_unauthorized', permanent: false, says: /RAID_PUBLISHER_SECRET/ },
  ],
  [
    'RAID answers 500 for a while',
    () => raid.fail('k', { status: 500 }),
    { code: 'raid_unavailable', permanent: false, says: /500/ },
  ],
  [
    'the body is cut off again and again',
    () => raid.fail('k', { cutAfter: 1000 }),
    { code: 'raid_truncated', permanent: false, says: /./ },
  ],
  [
    'the body is endless',
    () => raid.fail('k', { endless: true }),
    { code: 'raid_too_large', permanent: true, says: /RAID_MAX_MB/ },
  ],
  [
    'RAID redirects elsewhere',
    () => raid.fail('k', { redirect: 'http://localhost:1/x' }),
    { code: 'raid_redirected', permanent: true, says: /./ },
  ],
  [
    'an error page comes as the file',
    () => raid.fail('k', { bytes: Buffer.from('<!doctype html><p>Sorry') }),
    { code: 'not_an_image', permanent: true, says: /html/ },
  ],
  [
    'The file is empty',
    () => raid.fail('k', { bytes: Buffer.alloc(0) }),
    { code: 'empty_file', permanent: true, says: /./ },
  ],
  [
    'storage fails for a while',
    () => s3.fail(s3Failures.internalError),
    { code: 'storage_unavailable', permanent: false, says: /./ },
  ],
];

for (const [name, goWrong, { code, permanent, says }] of failures) {
  slowIf(code === 'raid_truncated')(
    `when ${name}: ${code}, ${permanent ? 'a dead letter at once' : 'retried until it works'}`,
    async () => {
      raid.files.set('k', await photo());
      raid.heal('k');
      await goWrong();
      const { id, file } = await publish('k', undefined);
      if (!permanent) {
        await failsOnce(rig.db, id);
        raid.heal('k');
        s3.heal();
      }
      const row = await reads(rig.db, id, { status: permanent ? 'failed' : 'completed', error_code: code });
      assert.match(row['error'], says);
      assert.doesNotMatch(row['error'], new RegExp(raid.secret));
      const errors = await sql(`select attempt, error_code from job_errors where job_id = $1 order by attempt`, [id]);
      if (permanent) {
        assert.deepEqual([row['attempt'], row['retry_count'], errors], [1, 5, [{ attempt: 1, error_code: code }]]);
      } else {
        assert.equal(errors.length, row['retry_count']);
        assert.ok(errors.length > 0 && errors.every((error) => error['error_code'] === code));
      }
      assert.equal((await fileOf(file))['publish_status'], permanent ? 'failed' : 'published');
      await eventually(async () => assert.deepEqual(await readdir(temp), []));
    },
  );
}

test('when RAID hangs, before its answer or in it: raid_timeout, retried until it works', async () => {
  const hurried = await createRig();
  try {
    await startPublisher(hurried, { RAID_TIMEOUT: '500' });
    const hangs = (['before headers', 'in the body'] as const).map(async (hang) => {
      raid.fail(hang, { hang });
      // A busy machine may exceed the time limit, too, after RAID works again.
      const { id } = await publish(hang, await photo(), { max_retries: 50 }, hurried.db);
      await failsOnce(hurried.db, id);
      raid.heal(hang);
      const { error } = await reads(hurried.db, id, { status: 'completed', error_code: 'raid_timeout' });
      assert.match(error, /0\.5 s/);
    });
    await Promise.all(hangs);
  } finally {
    await hurried.close();
  }
});

/** Faults of the deployment: what goes wrong, and what fixes it. */
const incidents: [string, string, () => void | Promise<void>, () => void | Promise<void>][] = [
  [
    'the bucket is missing',
    'storage_bucket_missing',
    () => s3.fail({ status: 404, code: 'NoSuchBucket' }),
    () => s3.heal(),
  ],
  ['the bucket is closed to us', 'storage_denied', () => s3.fail(s3Failures.denied), () => s3.heal()],
  ['storage is unreachable', 'storage_unavailable', () => s3.stop(), () => s3.start()],
];

for (const [name, code, goWrong, fix] of incidents)
  test(`when ${name}: an incident, no retry used, and it is published once that is fixed`, async () => {
    await goWrong();
    const { id, file } = await publish('held', await photo());
    await eventually(async () =>
      assert.deepEqual(await sql(`select code from incidents where resolved_at is null`), [{ code }]),
    );
    const row = await reads(rig.db, id, { status: 'pending', error_code: code });
    assert.match(row['error'], /rowmill-test/);
    assert.equal((await fileOf(file))['publish_status'], 'pending');
    await fix();
    await reads(rig.db, id, { status: 'completed', retry_count: 0 });
    assert.deepEqual(await sql(`select from job_errors where job_id = $1`, [id]), []);
    await eventually(async () => assert.deepEqual(await sql(`select from incidents where resolved_at is null`), []));
  });

test('a service that stays down uses up the retries and ends as a dead letter', async () => {
  // It says to come back later than an attempt waits for, so no request is repeated.
  raid.fail('down', { status: 503, headers: { 'retry-after': '60' } });
  const { id, file } = await publish('down', await photo(), { max_retries: 2 });
  const row = await reads(rig.db, id, { status: 'failed', attempt: 3, retry_count: 2, error_code: 'raid_unavailable' });
  const errors = await sql(`select failed_at from job_errors where job_id = $1 order by attempt`, [id]);
  const gaps = errors.slice(1).map((error, index) => error['failed_at'] - errors[index]!['failed_at']);
  assert.ok(gaps[0]! >= 100 && gaps[1]! >= 200, `waited ${gaps.join(', ')} ms`);
  assert.equal((await fileOf(file))['publish_status'], 'failed');
  assert.ok(row['completed_at']);
});

test('a truncated JPEG is media_truncated, and nothing is stored', async () => {
  const whole = await photo();
  const { id } = await publish('cut', whole.subarray(0, whole.length / 2));
  await reads(rig.db, id, { status: 'failed', error_code: 'media_truncated', attempt: 1 });
  assert.deepEqual(s3.requests, []);
});

test('an original that RAID has only a part of is tried again until it is whole', async () => {
  const whole = await photo();
  raid.fail('growing', { bytes: whole.subarray(0, whole.length / 2), times: 1 });
  const { id } = await publish('growing', whole);
  const { result } = await reads(rig.db, id, { status: 'completed', error_code: 'original_changed', attempt: 2 });
  assert.deepEqual([result.source.bytes, result.truncated], [whole.length, undefined]);
});

test('a job without a file, with a deleted file or one without a source key says so', async () => {
  const [none] = await sql(`insert into publish_jobs default values returning id`);
  await reads(rig.db, none!.id, { status: 'failed', error_code: 'file_not_found' });
  const [deleted] =
    await sql(`with f as (insert into auction_files (source_key, deleted_at) values ('x', now()) returning id)
    insert into publish_jobs (file_id) select id from f returning id`);
  await reads(rig.db, deleted!.id, { status: 'failed', error_code: 'file_deleted' });
  const [keyless] = await sql(`with f as (insert into auction_files default values returning id)
    insert into publish_jobs (file_id) select id from f returning id`);
  await reads(rig.db, keyless!.id, { status: 'failed', error_code: 'source_key_missing' });
});

test('a file deleted while its pictures are made is not published', async () => {
  raid.fail('vanishing', { drip: 1 });
  const { id, file } = await publish('vanishing', (await photo(20, 20)).subarray(0, 300));
  await reads(rig.db, id, { status: 'processing' });
  await sql(`update auction_files set deleted_at = now() where id = $1`, [file]);
  raid.heal('vanishing');
  await eventually(async () => assert.equal((await rows(rig.db, [id]))[0]!.status, 'failed'));
  assert.equal((await fileOf(file))['display_url'], null);
});
