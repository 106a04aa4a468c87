import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { createApp } from '../../worker/app.ts';
import { loadConfig } from '../../worker/base/config/config.ts';
import { messageOf } from '../../worker/base/errors.ts';
import { loadRegistry } from '../../worker/queue/registry.ts';
import { startWorker } from '../../worker/queue/worker.ts';
import { ffmpegEnv, generate } from '../support/clips.ts';
import { silent } from '../support/log.ts';
import { startS3Server, type Failure } from '../support/s3-server.ts';
import { prepareGround } from './ground.ts';
import { random } from './random.ts';

// npm run chaos:storage -- [--transcodes 20] [--percent 2] [--seconds 1160] [--seed 1] Transcodes, of some 300 requests
// each, on a storage of whose requests some fail: 500, 503, 429 or a connection that is reset. None may cost an
// attempt. The last line is the verdict; exit code 1 unless all is well.

const options = readOptions();
const ground = await prepareGround();
const s3 = await startS3Server();
const config = loadConfig({
  ...ffmpegEnv,
  ...s3.env,
  QUEUES: 'media',
  FFMPEG_PRESET: 'ultrafast',
  DATA_DIR: ground.dir,
  TEMP_DIR: join(ground.dir, 'temp'),
  NODE_ENV: 'test',
});
const app = createApp(config, ground.url, silent);
const source = `testsrc2=size=160x90:rate=1:duration=${options.seconds}`;
const clip = await generate('clip.mp4', `-f lavfi -i ${source} -c:v mpeg4 -q:v 31 -pix_fmt yuv420p`);
await app.storage.put('clip.mp4', clip, { contentType: 'video/mp4' });

const next = random(options.seed);
let faulty = 0;
const failures: Failure[] = [
  { status: 500, code: 'InternalError' },
  { status: 503, code: 'SlowDown' },
  { status: 429, code: 'TooManyRequests' },
  { status: 0, code: '', drop: true },
];
for (const failure of failures) {
  const share = options.percent / 100 / failures.length;
  s3.fail({ ...failure, when: () => next() < share && ++faulty > 0 });
}
s3.requests.length = 0;
const began = performance.now();
const worker = await startWorker(app, ground.url, await loadRegistry());
await ground.db.query(
  `insert into media_jobs (kind, payload) select 'transcode', '{"s3Key": "clip.mp4", "options": {"formats": ["hls"]}}'
   from generate_series(1, $1)`,
  [options.transcodes],
);
type Seen = { completed: number; left: number; retries: number; lost: number };
const seen = async (): Promise<Seen> =>
  (
    await ground.db.query<Seen>(
      `select count(*) filter (where status = 'completed') as completed,
       count(*) filter (where completed_at is null) as left,
              sum(attempt - 1) as retries, (select count(*) from job_errors) as lost from media_jobs`,
    )
  ).rows[0]!;
let now = await seen();
while (now.left > 0) {
  await sleep(500);
  now = await seen();
}
const { rows } = await ground.db.query(`select error_code, error from job_errors limit 5`);
for (const row of rows) console.log(JSON.stringify(row));
await worker.stop();
await app.close();
const asked = s3.requests.length;
const each = Math.round((asked - faulty) / options.transcodes);
console.log(
  `${options.transcodes} transcodes of ${each} requests in ${Math.round((performance.now() - began) / 1_000)} s, ` +
    `${faulty} of ${asked} requests failed (${((faulty / asked) * 100).toFixed(1)} %)`,
);
console.log(`completed ${now.completed}, attempts lost ${now.lost}, attempts more than one each ${now.retries}`);
await s3.close();
await ground.close();
process.exit(now.completed === options.transcodes && now.lost === 0 && now.retries === 0 ? 0 : 1);

function readOptions() {
  try {
    const { values } = parseArgs({
      options: {
        transcodes: { type: 'string', default: '20' },
        percent: { type: 'string', default: '2' },
        seconds: { type: 'string', default: '1160' },
        seed: { type: 'string', default: '1' },
      },
    });
    const number = (name: keyof typeof values) => {
      if (!/^\d{1,6}(\.\d+)?$/.test(values[name])) throw new Error(`--${name} ${values[name]}: must be a number`);
      return Number(values[name]);
    };
    return {
      transcodes: number('transcodes'),
      percent: number('percent'),
      seconds: number('seconds'),
      seed: number('seed'),
    };
  } catch (error) {
    console.error(
      `${messageOf(error)}\nnpm run chaos:storage -- [--transcodes N] [--percent P] [--seconds S] [--seed N]`,
    );
    process.exit(2);
  }
}
