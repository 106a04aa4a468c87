import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before } from 'node:test';
import publish from '../../worker/jobs/social/publish.ts';
import { platforms, type Platform } from '../../worker/providers/social/social.ts';
import { random } from '../chaos/random.ts';
import { ffmpegEnv } from '../support/clips.ts';
import { eventually } from '../support/eventually.ts';
import { slow } from '../support/everything.ts';
import { spawnRowmill } from '../support/processes.ts';
import { addAccount } from '../support/social-account.ts';
import { holdCommits, Moments, moments, oneOf, releaseCommits, stalls, steps } from '../support/social-moments.ts';
import { addPost, padded, startFakes, video, type Fakes } from '../support/social.ts';
import { createRig, type Rig } from '../support/worker.ts';

// A worker process is killed (kill -9) while posts stand at each step of each platform: before the request, during it,
// and between its answer and the commit. Each round kills one process, at 48 moments. Then a worker goes on: the
// platform has each post once; or it has none, and the row says that nobody knows.

/** A round takes half a minute of two cores. ROUNDS=20 kills at each moment twenty times. */
const rounds = Number(process.env['ROUNDS'] ?? 2);
const seed = process.env['SEED'] ?? String(Date.now());
const next = random('social-killed', seed);

let rig: Rig;
let fakes: Fakes;
let dir: string;
let env: Record<string, string>;

before(async () => {
  [rig, fakes, dir] = await Promise.all([createRig(), startFakes(), mkdtemp(join(tmpdir(), 'killed-'))]);
  env = {
    ...fakes.env,
    ...ffmpegEnv,
    QUEUES: 'social',
    DATA_DIR: dir,
    SWEEP_INTERVAL: '100',
    WORKER_POLL_INTERVAL: '100',
    WORKER_CONCURRENCY: '64',
    DATABASE_CONNECTIONS: '40',
    YOUTUBE_DAILY_UPLOADS: '1000000',
  };
  const small = await video();
  await mkdir(join(dir, 'storage', 'clips'), { recursive: true });
  await writeFile(join(dir, 'storage', 'clips', 'small.mp4'), small);
  await writeFile(join(dir, 'storage', 'clips', 'large.mp4'), padded(small, 20_000_000));
  await rig.db.query(`update queues set backoff_ms = 50, max_retries = 100 where name = 'social'; ${stalls}`);
});
after(async () => {
  await rig.close();
  await fakes.close();
  await rm(dir, { recursive: true });
});

let count = 0;
const small = { videoPath: 'clips/small.mp4' };
const large = { videoPath: 'clips/large.mp4' };
const pictures = { imagePaths: ['a.jpg', 'b.jpg'] };
/** What is published: most often what has all steps. */
const forms: Record<Platform, { content: object; settings?: object }[]> = {
  tiktok: [{ content: large }, { content: large }, { content: large }, { content: pictures }],
  youtube: [{ content: large }],
  instagram: [{ content: small }, { content: pictures }],
  facebook: [
    { content: small },
    { content: small },
    { content: small, settings: { type: 'reel' } },
    { content: pictures },
    { content: {} },
  ],
};

/** An account for each: of one, TikTok takes six posts a minute. */
async function schedule(platform: Platform): Promise<number> {
  const n = ++count;
  const number = String(n).padStart(10, '0');
  const account = await addAccount(rig.db, platform, { external_id: `1784140${number}` });
  const { content, settings } = oneOf(next, forms[platform]);
  const words = { title: `Nr ${n}.`, description: `Text ${n}.`, ...content };
  return addPost(rig.db, account, words, { ...(platform === 'tiktok' ? { privacy: 'PUBLIC' } : {}), ...settings });
}

type Ended = { id: number; platform: Platform; status: string; error: string | null; title: string; text: string };

const madeOf = ({ platform, title, text }: Ended) =>
  fakes[platform].posts.filter((post) => post.text.includes(title) || post.text.includes(text)).length;

slow(`each post is there once, or its row is unconfirmed (SEED=${seed})`, async (t) => {
  const standing = new Moments(fakes, rig.db, next);
  const holder = await rig.db.connect();
  t.after(() => holder.release());
  for (let round = 0; round < rounds; round++) {
    await standing.arm();
    await holder.query(holdCommits);
    const worker = await spawnRowmill(rig.db.url, env);
    await Promise.all(platforms.flatMap((platform) => Array.from({ length: 13 }, () => schedule(platform))));
    await eventually(async () => assert.deepEqual(await standing.missing(), []));
    worker.kill('SIGKILL');
    if (worker.signalCode === null) await once(worker, 'exit');
    await standing.died();
    await holder.query(releaseCommits);
  }
  await rig.worker(new Map([['social.publish', publish]]), env);
  const posts = await eventually(async () => {
    const { rows } = await rig.db.query<Ended>(
      `select id, platform, status, error, content ->> 'title' as title, content ->> 'description' as text
         from social_posts order by id`,
    );
    const open = rows.filter(({ status }) => !/^(published|failed|unconfirmed)$/.test(status));
    assert.deepEqual(open, []);
    return rows;
  }, 240_000);
  for (const place of platforms.flatMap((platform) => steps.map((step) => `${platform} ${step}`)))
    for (const moment of moments) assert.equal(standing.seen[`${place} ${moment}`], rounds, `${place} ${moment}`);
  const outcomes = posts.map((post) => `${post.platform}: ${post.status}, ${madeOf(post)} there${whyOf(post)}`);
  t.diagnostic(
    JSON.stringify(
      Object.groupBy(outcomes, (each) => each),
      (_, value: unknown) => (Array.isArray(value) ? value.length : value),
    ),
  );
  for (const post of posts) {
    const made = madeOf(post);
    assert.ok(post.status === 'unconfirmed' ? made <= 1 : post.status === 'published' && made === 1, show(post, made));
  }
});

/** Why nobody knows: what stands in brackets. */
const whyOf = ({ error }: Ended) => (error ? ` (${/\((.+)\)/.exec(error)?.[1] ?? error})` : '');

const show = ({ id, platform, status, error }: Ended, made: number) =>
  `post ${id} on ${platform} is ${status}, and is there ${made} times: ${error ?? 'no error'}`;
