import { createApp } from '../../worker/app.ts';
import { loadConfig } from '../../worker/base/config/config.ts';
import { createLog } from '../../worker/base/log.ts';
import publish from '../../worker/jobs/social/publish.ts';
import { startWorker } from '../../worker/queue/worker.ts';

// A worker of queue social that tests may kill. Says its id when it works.

const config = loadConfig();
const log = createLog(config);
const app = createApp(config, config.databaseUrl!, log);
const worker = await startWorker(app, config.databaseUrl!, new Map([[publish.name, publish]]));
process.send?.({ id: worker.id() });
