import { tmpdir } from 'node:os';
import { z } from 'zod';
import { createApp } from '../../worker/app.ts';
import { loadConfig } from '../../worker/base/config/config.ts';
import { createLog } from '../../worker/base/log.ts';
import { jobs } from '../../worker/http/jobs.ts';
import { listen as listenOn } from '../../worker/http/server.ts';
import { job } from '../../worker/queue/job.ts';
import { listen, options, say } from './child.ts';

// POST /jobs in a process of its own, without a worker.

const token = 'a-token-for-benchmarks';

const { url } = options() as { url: string };
const config = loadConfig({
  DATABASE_URL: url,
  INGRESS_TOKENS: `bench:${token}`,
  LOG_LEVEL: 'warn',
  DATA_DIR: tmpdir(),
});
const app = createApp(config, url, createLog(config, process.stderr));
const payload = z.object({ n: z.number(), sent: z.number(), pad: z.string() });
const noop = job({ name: 'analytics.noop', payload, run: async () => {} });
const { port } = await listenOn(jobs(app, new Map([[noop.name, noop]])), { host: '127.0.0.1', port: 0 });
listen({ end: () => process.exit(0) });
say('ready', { port });
