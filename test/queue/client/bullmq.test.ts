import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { checkFits } from '../../../worker/queue/client/add.ts';
import { Queue } from '../../../worker/queue/bullmq/queue.ts';
import { createClient, type Client } from '../../../worker/queue/client/client.ts';
import { cleanupQueue } from '../../../worker/queue/client/cleanup.ts';
import { loadRegistry } from '../../../worker/queue/registry.ts';
import { createRig, type Rig } from '../../support/worker.ts';

let rig: Rig;
let client: Client;
const given = process.env['DATABASE_URL'];
before(async () => {
  rig = await createRig();
  client = createClient(rig.db.url);
  process.env['DATABASE_URL'] = rig.db.url;
});
after(async () => {
  if (given === undefined) delete process.env['DATABASE_URL'];
  else process.env['DATABASE_URL'] = given;
  await client.close();
  await rig.close();
});

// As a video platform's README has them; only the import is another.
const snippets = `
import { Queue } from '${pathToFileURL(join(import.meta.dirname, '../../../worker/queue/bullmq/queue.ts')).href}';
import Redis from 'ioredis';

const connection = new Redis();
const videoQueue = new Queue('video-processing', { connection });

await videoQueue.add('process-video', {
  videoId: 'video-123',
  inputPath: '/path/to/video.mp4',
  userId: 'user-456',
  options: {
    formats: ['hls', 'mp4'],
    watermark: true,
    thumbnails: true,
  },
});

const publishQueue = new Queue('social-publishing', { connection });

await publishQueue.add('publish-to-tiktok', {
  platform: 'tiktok',
  credentials: {
    accessToken: 'token',
  },
  content: {
    videoPath: '/path/to/video.mp4',
    title: 'My Video',
    description: 'Check this out!',
  },
  settings: {
    privacy: 'PUBLIC',
    allowComments: true,
  },
});

const analyticsQueue = new Queue('analytics-aggregation', { connection });

await analyticsQueue.add('collect-metrics', {
  type: 'collect',
  platform: 'tiktok',
  accessToken: 'token',
  postId: 'post-123',
});

const notificationQueue = new Queue('notifications', { connection });

await notificationQueue.add('send-email', {
  type: 'email',
  template: 'email-welcome',
  templateData: {
    name: 'John Doe',
    dashboardUrl: 'https://nexus.com/dashboard',
  },
  email: {
    to: 'user@example.com',
    subject: 'Welcome to NEXUS',
  },
});

export const queues = [videoQueue, publishQueue, analyticsQueue, notificationQueue];
`;

test('four producers written for BullMQ run with nothing changed but the import', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'rowmill-bullmq-'));
  const redis = join(dir, 'node_modules/ioredis');
  await mkdir(redis, { recursive: true });
  await writeFile(join(redis, 'package.json'), '{"name": "ioredis", "type": "module", "exports": "./index.js"}');
  await writeFile(join(redis, 'index.js'), 'export default class Redis {}');
  await writeFile(join(dir, 'producers.ts'), snippets);
  const { queues } = (await import(pathToFileURL(join(dir, 'producers.ts')).href)) as { queues: Queue[] };
  const { rows } = await rig.db.query(`select queue, kind, payload from jobs order by id`);
  assert.deepEqual(
    rows.map(({ queue, kind, payload }) => [`${queue}.${kind}`, Object.keys(payload)]),
    [
      ['media.transcode', ['userId', 'options', 'videoId', 'inputPath']],
      ['social.publish', ['content', 'platform', 'settings', 'credentials']],
      ['analytics.collect', ['type', 'postId', 'platform', 'accessToken']],
      ['notification.email', ['type', 'email', 'template', 'templateData']],
    ],
  );
  const registry = await loadRegistry();
  for (const { queue, kind, payload } of rows)
    if (registry.has(`${queue}.${kind}`)) checkFits(registry, { queue, kind, payload });
  await Promise.all(queues.map((queue) => queue.close()));
  await rm(dir, { recursive: true });
});

test('options become columns, and jobs have the states that BullMQ names', async () => {
  await rig.db.query('truncate jobs, job_keys');
  const queue = new Queue('media', { connection: {}, defaultJobOptions: { attempts: 5, removeOnComplete: true } });
  const data = { s3Key: 'a' };
  const plain = await queue.add('image', data);
  const [delayed, keyed, again] = await queue.addBulk([
    { name: 'image', data, opts: { delay: 60_000, priority: 2_000_000, attempts: 1, backoff: { type: 'fixed' } } },
    { name: 'audio', data, opts: { jobId: 'order-17' } },
    { name: 'audio', data, opts: { jobId: 'order-17' } },
  ]);
  assert.deepEqual([keyed!.id, again!.id, plain.name, plain.queueName], ['order-17', 'order-17', 'image', 'media']);
  const { rows } = await rig.db.query(
    `select kind, priority, max_retries, dedupe_key, run_at > created_at + interval '59 seconds' as later
       from jobs order by id`,
  );
  assert.deepEqual(rows, [
    { kind: 'image', priority: 0, max_retries: 4, dedupe_key: null, later: false },
    { kind: 'image', priority: 32_767, max_retries: 0, dedupe_key: null, later: true },
    { kind: 'audio', priority: 0, max_retries: 4, dedupe_key: 'order-17', later: false },
  ]);
  assert.deepEqual(
    [await plain.getState(), await delayed!.getState(), await keyed!.getState()],
    ['waiting', 'delayed', 'waiting'],
  );
  assert.deepEqual(await queue.getJobCounts('waiting', 'wait', 'delayed', 'failed'), {
    waiting: 2,
    wait: 2,
    delayed: 1,
    failed: 0,
  });
  await rig.db.query(`update queues set paused = true where name = 'media'`);
  const { paused, waiting, ...others } = await queue.getJobCounts();
  assert.deepEqual([paused, waiting, others['waiting-children']], [2, 0, 0]);
  await rig.db.query(`update jobs set status = 'cancelled' where id = $1`, [plain.id]);
  await rig.db.query(
    `update jobs set status = 'failed', error_code = 'media_truncated', error = 'cut off'
      where dedupe_key = 'order-17'`,
  );
  const failed = await queue.getJob('order-17');
  assert.deepEqual(
    [failed!.name, failed!.data, failed!.failedReason, await failed!.getState(), await plain.getState()],
    ['audio', data, 'media_truncated: cut off', 'failed', 'failed'],
  );
  assert.ok(failed!.finishedOn! >= failed!.timestamp);
  assert.equal((await queue.getJob(delayed!.id))!.id, delayed!.id);
  assert.deepEqual([await queue.getJob('none'), await queue.getJobState('99999999')], [undefined, 'unknown']);
  await queue.close();
});

test('a repeated job becomes a schedule', async () => {
  const queue = new Queue('notifications');
  const job = await queue.add(
    'send-email',
    { a: 1 },
    { repeat: { pattern: '0 3 * * *', tz: 'Europe/Berlin' }, attempts: 2 },
  );
  await queue.add('send-email', { a: 2 }, { repeat: { pattern: '0 4 * * *', tz: 'UTC' } });
  const { rows } = await rig.db.query(
    `select name, cron, time_zone, queue, kind, payload, max_retries from schedules where name like 'notifications%'`,
  );
  assert.deepEqual(rows, [
    {
      name: 'notifications.send-email',
      cron: '0 4 * * *',
      time_zone: 'UTC',
      queue: 'notification',
      kind: 'email',
      payload: { a: 2 },
      max_retries: 1,
    },
  ]);
  assert.equal(job.id, 'repeat:notifications.send-email');
  await queue.close();
});

test('what would be another job is refused', async () => {
  const queue = new Queue('nowhere');
  const refused: [() => Promise<unknown>, RegExp][] = [
    [() => queue.add('x', {}), /there is no queue "nowhere"/],
    [() => queue.getJobCounts(), /There is no queue nowhere: there are /],
    [() => queue.add('x', {}, { deduplication: { id: 'a' } } as object), /does not have the option deduplication/],
    [() => queue.add('x', {}, { repeat: { every: 1_000 } } as object), /repeat\.every: a repeated job has a cron/],
    [() => queue.addBulk([{ name: 'x', data: {}, opts: { repeat: { pattern: '* * * * *' } } }]), /use add\(\)/],
  ];
  for (const [work, message] of refused) await assert.rejects(work, { message });
  await queue.close();
  delete process.env['DATABASE_URL'];
  assert.throws(() => new Queue('media'), /DATABASE_URL: is not set/);
  process.env['DATABASE_URL'] = rig.db.url;
});

test('cleanups have a function, too', async () => {
  const { addCleanupJob } = cleanupQueue(client);
  const { id } = await addCleanupJob('temp_files', { olderThan: '48 hours' }, { priority: 3 });
  const { rows } = await rig.db.query('select queue, kind, payload, priority from jobs where id = $1', [id]);
  const payload = { type: 'temp_files', olderThan: '48 hours' };
  assert.deepEqual(rows, [{ queue: 'cleanup', kind: 'temp_files', payload, priority: 3 }]);
  checkFits(await loadRegistry(), rows[0]!);
  await assert.rejects(addCleanupJob('tempfiles' as never), /payload\.type: must be one of stories/);
});
