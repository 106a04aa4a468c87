import { z } from 'zod';
import { createApp } from '../../worker/app.ts';
import { loadConfig } from '../../worker/base/config/config.ts';
import { createLog } from '../../worker/base/log.ts';
import { job } from '../../worker/queue/job.ts';
import { startWorker } from '../../worker/queue/worker.ts';
import { kindNames, runKind } from './kinds.ts';
import { queues } from './plan.ts';

// One worker process of the chaos run, as `rowmill start` is, with kinds of its own. Started by fleet.ts, with the
// seed; says when it works.

const seed = Number(process.argv[2]);
const kinds = queues.flatMap((queue) =>
  kindNames.map((name) =>
    job({ name: `${queue}.${name}`, payload: z.unknown(), run: (context) => runKind(name, seed, context) }),
  ),
);

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
process.on('message', () => process.send?.({ trouble: worker.trouble() ?? null }));
process.send?.({ id: worker.id() });
