import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { createApp } from '../../worker/app.ts';
import { loadConfig } from '../../worker/base/config/config.ts';
import { createLog } from '../../worker/base/log.ts';
import { withTempDir } from '../../worker/base/temp.ts';
import { job, type JobContext } from '../../worker/queue/job.ts';
import { startWorker } from '../../worker/queue/worker.ts';

// One worker process of the run of incidents, as `rowmill start` is, with a kind for each dependency. Started by
// incident.ts.

const payload = z.unknown();
const kinds = [
  job({ name: 'media.store', payload, run: store }),
  job({ name: 'media.fetch', payload, run: fetchOne }),
  job({ name: 'media.scratch', payload, run: scratch }),
  job({ name: 'media.other', payload, run: async () => 'done' }),
];

async function store({ app, job: { id }, signal }: JobContext<unknown>): Promise<void> {
  await app.storage.put(`jobs/${id}.txt`, Buffer.from('x'), { contentType: 'text/plain', signal });
}

async function fetchOne({ app, signal }: JobContext<unknown>): Promise<number> {
  return withTempDir(app.config.tempDir, async (dir) => {
    const { bytes } = await app.raid.download('original', join(dir, 'original'), { signal });
    return bytes;
  });
}

async function scratch({ app }: JobContext<unknown>): Promise<void> {
  await withTempDir(app.config.tempDir, (dir) => writeFile(join(dir, randomUUID()), Buffer.alloc(50_000)));
}

const config = loadConfig();
const log = createLog(config);
process.on('unhandledRejection', (error) => log.error({ err: error }, 'unhandled rejection'));
// No orphans.
process.on('disconnect', () => process.exit(1));
const app = createApp(config, config.databaseUrl!, log);
const worker = await startWorker(app, config.databaseUrl!, new Map(kinds.map((kind) => [kind.name, kind])));
process.once('SIGTERM', () => {
  void worker
    .stop()
    .then(() => app.close())
    .then(() => process.exit(0));
});
process.send?.({ id: worker.id() });
