import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { join, relative } from 'node:path';
import type { Config } from '../../base/config/config.ts';
import { loadStatements, query } from '../../base/db/sql.ts';
import { codeOf, messageOf } from '../../base/errors.ts';
import { LocalStorage } from '../../base/storage/local.ts';
import { psqlLine } from '../../embedded/connection.ts';
import { createFfmpeg } from '../../media/ffmpeg/ffmpeg.ts';
import { makeSamples } from '../../media/image/samples.ts';
import { deleteSchedule, nextTicks, runSchedule, setSchedule } from '../../queue/schedule/schedules.ts';
import { paint, print, printJson } from '../output.ts';
import { samples } from './messages.ts';
import { insert, repair, type Notice } from './notifications.ts';
import { onStage, tellAnswers, tellFailure, type Stage } from './stage.ts';
import type { Shown } from './view.ts';

const sql = loadStatements(import.meta.dirname, 'tour.sql', ['add_media', 'written', 'try_1', 'try_2']);

/**
 * One of each: pictures and a video, notifications as files, a schedule, a dead letter and its repair. Then the
 * dashboard stays open until the demo is stopped; with `json`, the demo ends.
 * @returns the exit code: 0 if everything came out as expected
 */
export async function demoTour({ json }: { json: boolean }): Promise<number> {
  return onStage({ queues: ['notification', 'media', 'cleanup'], title: 'NAME', json }, async (stage) => {
    const password = randomBytes(9).toString('base64url');
    await stage.step('Starting a worker, with its dashboard');
    const { port } = await stage.startWorker({
      MEDIA_MEMORY_MB: String(stage.config.mediaMemoryBytes / 1e6),
      DASHBOARD_PASSWORD: password,
      ...ffmpegOf(stage.config),
    });
    const run = new Date().toISOString();
    const media = await processMedia(stage, run);
    const notices = await notify(stage, run, json);
    const ticked = await tick(stage);
    const jobs = [...media, ...notices, ticked];
    const ok = jobs.every(({ status }) => status === 'completed');
    if (json) printJson({ ok, jobs });
    else await tellAnswers(stage, [sql.try_1, sql.try_2]);
    if (!ok && !json) print(paint('red', 'Not all came out as it should.'));
    if (!json) await keepOpen(stage, `http://127.0.0.1:${port}/dashboard/`, password);
    return ok ? 0 : 1;
  });
}

/** Where the worker finds the ffmpeg that makes the video. */
const ffmpegOf = ({ ffmpeg: { ffmpeg, ffprobe, searchPath } }: Config): Record<string, string> => ({
  PATH: searchPath,
  ...(ffmpeg ? { FFMPEG_PATH: ffmpeg } : {}),
  ...(ffprobe ? { FFPROBE_PATH: ffprobe } : {}),
});

/** @returns the jobs, ended */
async function processMedia(stage: Stage, run: string): Promise<Shown[]> {
  const { db, config, dir, step } = stage;
  await step('\n1. Pictures and a video, from storage and back: rows of media_jobs\n');
  const pictures = (await makeSamples(dir)).filter(({ name }) => ['sunset.jpg', 'phone-gps.jpg'].includes(name));
  const originals = [...pictures, ...(await makeClip(stage))];
  const storage = new LocalStorage({ provider: 'local', dir: join(config.dataDir, 'storage') });
  const jobs: Shown[] = [];
  for (const { name, about } of originals) {
    const s3Key = `demo/${run}/${name}`;
    await storage.put(s3Key, { path: join(dir, name) }, { contentType: 'application/octet-stream' });
    const kind = name.endsWith('.mp4') ? 'video' : 'image';
    const payload = JSON.stringify({ s3Key });
    const [job] = await query<{ id: number }>(db, sql.add_media, { kind, payload, dedupe_key: s3Key });
    jobs.push({ id: job!.id, name, about, broken: false, status: 'pending' });
  }
  await stage.watch(jobs, 'media');
  await step(`They are in ${relative('', join(config.dataDir, 'storage'))}/`);
  return jobs;
}

/** None where there is no ffmpeg. */
async function makeClip({ config, dir, signal, step }: Stage): Promise<{ name: string; about: string }[]> {
  const name = 'clip.mp4';
  const input = (path: string) => ({ path, options: ['-f', 'lavfi'], formats: 'lavfi' });
  const inputs = [input('testsrc2=size=640x360:rate=25:duration=3'), input('sine=frequency=440:duration=3')];
  const outputs = [{ path: join(dir, name), options: ['-c:v', 'mpeg4', '-c:a', 'aac'] }];
  try {
    await createFfmpeg(config.ffmpeg).run({ inputs, outputs }, { dir, signal });
    return [{ name, about: 'a video of 3 seconds: becomes H.264, with a thumbnail' }];
  } catch (error) {
    if (codeOf(error) !== 'ffmpeg_missing') throw error;
    await step(`No video: ${messageOf(error)}\n`);
    return [];
  }
}

const channels = ['email', 'sms', 'push', 'slack'];

/** @returns the jobs, ended */
async function notify(stage: Stage, run: string, json: boolean): Promise<Notice[]> {
  const { db, config, step } = stage;
  await step('\n2. Notifications: no vendor is set, so each is written to a file. One lacks a variable\n');
  const jobs: Notice[] = [];
  for (const [n, sample] of samples.filter(({ kind }) => channels.includes(kind)).entries())
    jobs.push(await insert(db, sample, `demo/${run}/${n}`));
  await stage.watch(jobs);
  if (!json) for (const job of jobs) tellFailure(job);

  await step('\n3. A dead letter is mended by an UPDATE, or on the dashboard');
  for (const job of jobs.filter(({ broken, status }) => broken && status === 'failed')) await repair(stage, job, json);

  const files = await query<{ channel: string; file: string }>(db, sql.written, { ids: jobs.map(({ id }) => id) });
  await step('\nThe messages:');
  const outbox = relative('', join(config.dataDir, 'outbox'));
  for (const { channel, file } of files) await step(`  ${outbox}/${channel}/${file}`);
  return jobs;
}

/** A name that no schedule of the user has. */
const schedule = 'rowmill-demo';
const cron = '*/5 * * * *';

/** @returns the job of the schedule, ended */
async function tick(stage: Stage): Promise<Shown> {
  const { db, open, step } = stage;
  await step(`\n4. A schedule, ${cron}, that adds jobs of cleanup.notifications. One runs now\n`);
  await setSchedule(db, undefined, { name: schedule, cron, queue: 'cleanup', kind: 'notifications' });
  open.defer(() => deleteSchedule(db, schedule));
  const id = (await runSchedule(db, schedule))!;
  const job: Shown = {
    id,
    name: 'notifications',
    about: 'deletes old messages to users',
    broken: false,
    status: 'pending',
  };
  await stage.watch([job], 'cleanup');
  const ticks = nextTicks(cron, 'UTC', 3).map((at) => at.toISOString().slice(11, 16));
  await step(`Its next ticks: ${ticks.join(', ')} UTC`);
  return job;
}

/** Until the demo is stopped, which is how it ends well. */
async function keepOpen({ config, signal }: Stage, dashboard: string, password: string): Promise<void> {
  print();
  print('The dashboard is open, and the worker works on, until you press Ctrl-C:');
  print(`  ${dashboard}   user: any name, password: ${password}`);
  print(`  ${psqlLine(config)}`);
  if (!signal.aborted) await once(signal, 'abort');
}
