import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { createApp } from '../../worker/app.ts';
import { loadConfig } from '../../worker/base/config/config.ts';
import { DeploymentError } from '../../worker/base/errors.ts';
import { createLog } from '../../worker/base/log.ts';
import { withTempDir } from '../../worker/base/temp.ts';
import { onUncaught } from '../../worker/main.ts';
import { job } from '../../worker/queue/job.ts';
import { startWorker } from '../../worker/queue/worker.ts';

// A worker process that tests may kill, freeze and stop. Started by spawnWorker in processes.ts; says its id when it
// works.

const payload = z.object({ ms: z.number().default(0), name: z.string().default('') });
const kinds = [
  job({
    name: 'media.slow',
    payload,
    run: ({ payload: { ms }, signal }) => sleep(ms, { pid: process.pid }, { signal }),
  }),
  job({
    // Sleeps through its signal, as a frozen or blocked process would, and then tries to commit.
    name: 'media.late_commit',
    payload,
    run: async ({ job: { id }, payload: { ms, name }, commit }) => {
      await sleep(ms);
      return commit(async (tx) => {
        await tx.query('insert into effects (job_id, name) values ($1, $2)', [id, name]);
        return { pid: process.pid };
      });
    },
  }),
  job({
    // Sleeps inside its transaction, which holds its row locked.
    name: 'analytics.sleep_in_commit',
    payload,
    run: ({ job: { id }, payload: { ms }, commit }) =>
      commit(async (tx) => {
        await tx.query(`insert into effects (job_id, name) values ($1, 'in commit')`, [id]);
        await sleep(ms);
        return {};
      }),
  }),
  job({
    // Sound at its own speed, for ever: as a long video.
    name: 'media.endless_ffmpeg',
    payload: z.object({ sound: z.string() }),
    run: ({ app, payload: { sound }, signal }) =>
      withTempDir(app.config.tempDir, async (dir) => {
        const path = join(dir, 'in');
        await copyFile(sound, path);
        const inputs = [{ path, options: ['-stream_loop', '-1', '-re'] }];
        await app.ffmpeg.run({ inputs, outputs: [{ path: join(dir, 'out.wav'), options: [] }] }, { dir, signal });
      }),
  }),
  job({
    // Throws where no promise of the handler's catches it, and goes on.
    name: 'media.throw_later',
    payload,
    run: async ({ signal }) => {
      setTimeout(() => {
        throw new Error('thrown later');
      }, 10);
      await sleep(60_000, undefined, { signal });
    },
  }),
  job({
    // Of a dependency without a check: the incident ends with the first probe.
    name: 'media.suspended_once',
    payload,
    run: async ({ job: { attempt } }) => {
      if (attempt === 1) throw new DeploymentError('mail', 'mail_suspended', 'The account is suspended');
    },
  }),
  job({ name: 'media.abort', payload, run: async () => process.abort() }),
];

const config = loadConfig();
const log = createLog(config);
const app = createApp(config, config.databaseUrl!, log);
const worker = await startWorker(app, config.databaseUrl!, new Map(kinds.map((kind) => [kind.name, kind])));
process.send?.({ id: worker.id() });
process.on('message', (message) => {
  if (message === 'trouble') process.send?.({ trouble: worker.trouble() ?? null, id: worker.id() });
});
onUncaught(log, () => void worker.stop().then(() => process.exit(1)));
process.once('SIGTERM', () => {
  void worker.stop().then(() => process.exit(0));
});
