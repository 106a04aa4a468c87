import { tmpdir } from 'node:os';
import { createApp } from '../../worker/app.ts';
import { loadConfig } from '../../worker/base/config/config.ts';
import { createLog } from '../../worker/base/log.ts';
import { loadRegistry } from '../../worker/queue/registry.ts';
import { startWorker } from '../../worker/queue/worker.ts';
import { listen, options, say } from './child.ts';

// A worker with all queues and all kinds in the box, in a process of its own.

const { url } = options() as { url: string };
const registry = await loadRegistry();
let stop = async () => {};

listen({
  async go() {
    const config = loadConfig({ DATABASE_URL: url, LOG_LEVEL: 'warn', DATA_DIR: tmpdir() });
    const app = createApp(config, url, createLog(config, process.stderr));
    const worker = await startWorker(app, url, registry);
    stop = () => worker.stop();
    say('working');
  },
  async end() {
    await stop().catch(() => {});
    process.exit(0);
  },
});
say('ready');
