import assert from 'node:assert/strict';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { RetryableError } from '../../worker/base/errors.ts';
import { checkVersions } from '../../worker/cli/doctor/fleet.ts';
import { checkMemory, checkTemp } from '../../worker/cli/doctor/host.ts';
import { judgeFfmpeg } from '../../worker/cli/doctor/ffmpeg.ts';
import { startStandIn } from '../../worker/cli/demo/raid.ts';
import type { Capabilities } from '../../worker/media/ffmpeg/capabilities.ts';
import { version } from '../../worker/queue/fleet/version.ts';
import { ffmpeg, ffmpegEnv } from '../support/clips.ts';
import { runRowmill } from '../support/cli.ts';
import { createDatabase } from '../support/database.ts';
import { slow } from '../support/everything.ts';
import { add } from '../support/jobs.ts';
import { createDoctor, type Doctor } from '../support/doctor.ts';
import { startSmtp } from '../support/smtp.ts';

// `rowmill doctor`: what it finds on a machine and around it, and that it says how to fix it.

let doctor: Doctor;
before(async () => {
  doctor = await createDoctor();
});
after(() => doctor.close());
const examine = (env?: Record<string, string>) => doctor.examine(env);

test('where all is well it says so, line by line, and exits 0', async (t) => {
  const here = await ffmpeg.capabilities();
  const raid = await startStandIn(new Map(), 'sesame');
  t.after(raid.close);
  const env = { ...ffmpegEnv, RAID_PUB_ENDPOINT: raid.endpoint, RAID_PUBLISHER_SECRET: 'sesame' };
  const { code, ok, found } = await examine(env);
  assert.deepEqual([code, ok], [0, true]);
  const states = Object.entries(found).map(([name, { state }]) => `${state} ${name}`);
  assert.deepEqual(states, [
    'ok Node',
    'ok pictures',
    'ok environment',
    'ok temp dir',
    'ok memory',
    `${judgeFfmpeg(here, undefined).state} ffmpeg`,
    'ok Postgres',
    'ok connection',
    'ok encryption',
    'ok capacity',
    'ok clock',
    'ok vacuum',
    'ok notify',
    'ok rights',
    'ok migrations',
    'ok search',
    'ok incidents',
    'warn workers',
    'ok queues',
    'ok waits',
    'ok schedules',
    'ok rejected messages',
    'ok dead letters',
    'ok sealing',
    'ok storage',
    'ok RAID',
  ]);

  const { stdout } = await runRowmill(['doctor'], {
    env: { DATABASE_URL: doctor.db.url, DATA_DIR: doctor.dir, PATH: '' },
  });
  assert.match(stdout, /^ok {4}Node {10}24\./m);
  assert.match(stdout, /^ok {4}environment {3}no faults; .*DATABASE_URL, DATA_DIR.* set$/m);
  assert.match(stdout, /^warn {2}workers {7}no worker is running\n {20}fix: rowmill start$/m);
});

test('all faults of the environment are named at once', async () => {
  const { code, found } = await examine({ PORT: 'x', B2_BUCKET: 'b' });
  assert.equal(code, 1);
  assert.match(found['environment']!.detail, /PORT: [^]*B2_KEY_ID: is missing/);
});

test('a queue in QUEUES that is none is found before a worker stumbles over it', async () => {
  const { code, found } = await examine({ QUEUES: 'publish,mdia' });
  assert.equal(code, 1);
  assert.match(found['served']!.detail, /^QUEUES: there is no queue mdia; there are .*media/);
  assert.equal((await examine({ QUEUES: 'publish,media' })).found['served'], undefined);
});

test('an SMTP server is asked to log in, and sends nothing', async (t) => {
  const server = await startSmtp();
  t.after(() => server.close());
  const env = { SMTP_HOST: server.host, SMTP_PORT: String(server.port), EMAIL_FROM: 'a@shop.example' };
  const login = { SMTP_USER: 'mailer', SMTP_PASS: 'sesame' };
  const { found } = await examine({ ...env, ...login, HASH_KEY: 'x'.repeat(16) });
  assert.equal(found['email: smtp']!.state, 'ok');
  assert.equal(found['HASH_KEY']!.state, 'ok');
  server.fail('login', { code: 535, text: '5.7.8 no' });
  const locked = await examine({ ...env, ...login });
  assert.match(locked.found['email: smtp']!.detail, /answered 535 5\.7\.8 .* check SMTP_USER and SMTP_PASS/);
  assert.deepEqual([locked.code, locked.found['HASH_KEY']!.state], [1, 'warn']);
  assert.deepEqual(server.mails, []);
});

test('storage that cannot be written to, and a temp dir that is none', async () => {
  const file = join(doctor.dir, 'file');
  await writeFile(file, '');
  const local = await examine({ DATA_DIR: file, TEMP_DIR: join(file, 'temp') });
  assert.equal(local.code, 1);
  assert.equal(local.found['storage']!.state, 'fail');
  assert.match(local.found['temp dir']!.detail, /ENOTDIR/);

  const minio = {
    MINIO_ENDPOINT: 'http://127.0.0.1:1',
    MINIO_BUCKET: 'b',
    MINIO_ACCESS_KEY: 'k',
    MINIO_SECRET_KEY: 'sesame',
  };
  const s3 = await examine(minio);
  assert.equal(s3.code, 1);
  assert.match(s3.found['storage']!.detail, /^bucket b at http:\/\/127\.0\.0\.1:1: .*storage_unavailable/);
});

test('a temp dir that is not there yet is told of, and not made', async (t) => {
  const raid = await startStandIn(new Map(), 'sesame');
  t.after(raid.close);
  const missing = join(doctor.dir, 'not', 'yet');
  const env = { TEMP_DIR: missing, RAID_PUB_ENDPOINT: raid.endpoint, RAID_PUBLISHER_SECRET: 'sesame' };
  const { code, found } = await examine(env);
  assert.equal(code, 0);
  assert.match(found['temp dir']!.detail, /not\/yet, not there yet: the first job makes it, .* free$/);
  assert.equal(found['RAID']!.state, 'ok');
  await assert.rejects(stat(join(doctor.dir, 'not')), { code: 'ENOENT' });
});

test('a temp dir that is too small for an original is told of, and what becomes of the job', async () => {
  const config = { tempDir: doctor.dir, mediaMaxBytes: 1e18, queues: undefined };
  const { state, detail, fix } = await checkTemp(config);
  assert.equal(state, 'warn');
  assert.match(
    detail,
    /free: a job whose original, of up to .* \(MEDIA_MAX_MB\), does not fit there ends as disk_full$/,
  );
  assert.match(fix!, /TEMP_DIR/);
  assert.equal((await checkTemp({ ...config, queues: ['publish'] })).state, 'ok');
});

test('a memory budget above what there is, which would have the worker killed', () => {
  const checked = (megabytes: number, ofContainer = true) =>
    checkMemory({ mediaMemoryBytes: megabytes * 1e6 }, { bytes: 512 * 2 ** 20, ofContainer });
  assert.equal(checked(280).state, 'ok');
  const { state, detail, fix } = checked(700);
  assert.equal(state, 'warn');
  assert.match(detail, /700 MB \(MEDIA_MEMORY_MB\), .* this container has 536 MB/);
  assert.match(fix!, /set MEDIA_MEMORY_MB to 336 or less/);
  assert.match(checked(700, false).detail, /this machine/);
});

test('a watermark that is not there, or is no picture', async () => {
  const missing = await examine({ WATERMARK_PATH: join(doctor.dir, 'logo.png') });
  assert.equal(missing.code, 1);
  assert.match(missing.found['watermark']!.detail, /^WATERMARK_PATH .*logo\.png cannot be read \(ENOENT\)/);
  await writeFile(join(doctor.dir, 'words.png'), 'no picture');
  const broken = await examine({ WATERMARK_PATH: join(doctor.dir, 'words.png') });
  assert.match(broken.found['watermark']!.detail, /words\.png is no PNG, JPEG/);
});

test('ffmpeg: a wrong path, one that is too old, one that lacks something, none', async () => {
  const wrong = await examine({ FFMPEG_PATH: '/bin/true' });
  assert.equal(wrong.code, 1);
  assert.equal(wrong.found['ffmpeg']!.state, 'fail');
  assert.match(wrong.found['ffmpeg']!.detail, /^FFMPEG_PATH: \/bin\/true does not run, or is no ffmpeg$/);

  const program = { path: '/usr/bin/ffmpeg', from: 'PATH' as const };
  const good: Capabilities = {
    programs: { ffmpeg: program, ffprobe: program },
    version: '7.1',
    libavcodec: 61,
    missing: [],
    toneMapping: true,
    dav1d: true,
    sandbox: 'bwrap',
  };
  const old = { ...good, programs: { ...good.programs, ffmpeg: { path: 'x', from: 'npm' as const } } };
  const absent = new RetryableError('ffmpeg_missing', 'There is no ffmpeg in PATH');
  const cases: [unknown, string[] | undefined, string, RegExp][] = [
    [good, undefined, 'ok', /^7\.1 from PATH, sandbox bwrap$/],
    [old, undefined, 'warn', /from npm.*years old/],
    [{ ...good, missing: ['libx264', 'aac'] }, undefined, 'fail', /it lacks libx264, aac$/],
    [{ ...good, toneMapping: false }, undefined, 'warn', /HDR/],
    [
      { ...good, version: '5.1.9-0+deb12u1', libavcodec: 59 },
      undefined,
      'warn',
      /^5\.1\.9-0\+deb12u1 .*AMR.*ffmpeg_too_old/,
    ],
    [{ ...good, version: 'N-119000-gabc', libavcodec: 62 }, undefined, 'ok', /^N-/],
    [{ ...good, version: '6.1', libavcodec: 60, sandbox: 'none' }, undefined, 'warn', /AMR.*the network/],
    [{ ...good, sandbox: 'none' }, undefined, 'warn', /the network/],
    [absent, undefined, 'warn', /There is no ffmpeg in PATH: jobs of queue media/],
    [new RetryableError('out_of_memory', 'no memory'), ['publish'], 'fail', /^it could not be examined: no memory$/],
    [absent, ['media'], 'fail', /There is no ffmpeg/],
    [absent, ['publish'], 'ok', /none is needed/],
  ];
  for (const [found, queues, state, says] of cases) {
    const check = judgeFfmpeg(found, queues);
    assert.equal(check.state, state, check.detail);
    assert.match(check.detail, says);
    assert.equal(Boolean(check.fix), state !== 'ok');
  }
});

slow('RAID with another secret, or not there', async (t) => {
  const raid = await startStandIn(new Map(), 'sesame');
  t.after(raid.close);
  const refused = await examine({ RAID_PUB_ENDPOINT: raid.endpoint, RAID_PUBLISHER_SECRET: 'other' });
  assert.equal(refused.code, 1);
  assert.match(refused.found['RAID']!.detail, /raid_unauthorized/);
  assert.match(refused.found['RAID']!.fix!, /RAID_PUBLISHER_SECRET/);
  const gone = await examine({ RAID_PUB_ENDPOINT: 'http://127.0.0.1:1', RAID_PUBLISHER_SECRET: 'x' });
  assert.match(gone.found['RAID']!.detail, /raid_unavailable/);
});

test('paused queues, old jobs and dead letters are warnings', async (t) => {
  const own = await createDatabase();
  t.after(() => own.drop());
  await own.query(`update queues set paused = true where name = 'media'`);
  await add(own, 'social', 'x', { status: 'failed', error_code: 'no_luck' });
  await add(own, 'cleanup', 'x');
  const { code, found } = await examine({ DATABASE_URL: own.url });
  assert.equal(code, 0);
  assert.deepEqual(
    [found['workers']!.state, found['queues']!.fix, found['dead letters']!.detail],
    ['warn', 'rowmill resume media', '1 dead letter of social.x, no_luck'],
  );
});

test('workers of another version are a warning that says which', () => {
  const here = { alive: true, version, host: 'a', pid: 1 };
  const old = { ...here, version: '0.1.9', host: 'b', pid: 2 };
  assert.deepEqual(checkVersions([]), []);
  assert.deepEqual(
    [checkVersions([here, { ...old, alive: false }])[0]!.state, checkVersions([here, old])[0]!.state],
    ['ok', 'warn'],
  );
  assert.match(checkVersions([here, old])[0]!.detail, /, 1 worker another: 0\.1\.9 \(pid 2 on b\)$/);
  assert.match(checkVersions(Array.from({ length: 7 }, () => old))[0]!.detail, /7 workers another: .* and 2 more$/);
});

test('without DATABASE_URL and before anything was made, it makes nothing', async () => {
  const fresh = await mkdtemp(join(tmpdir(), 'rowmill-doctor-'));
  const { found } = await examine({ DATABASE_URL: '', DATA_DIR: join(fresh, 'data') });
  assert.equal(found['Postgres']!.state, 'warn');
  assert.match(found['Postgres']!.detail, /there is no embedded database in /);
  await rm(fresh, { recursive: true });
});
