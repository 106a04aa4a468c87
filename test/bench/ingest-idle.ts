import { setTimeout as sleep } from 'node:timers/promises';
import { tmpdir } from 'node:os';
import type { App } from '../../worker/app.ts';
import { loadConfig } from '../../worker/base/config/config.ts';
import { createPool } from '../../worker/base/db/db.ts';
import { createLog } from '../../worker/base/log.ts';
import { startBridges } from '../../worker/bridges/bridges.ts';
import { listen, options, say } from './child.ts';

// Bridges to which no message comes, in a process of their own.

const { url, envs } = options() as { url: string; envs: Record<string, string>[] };

listen({
  async go() {
    for (const env of envs) {
      const config = loadConfig({ DATABASE_URL: url, LOG_LEVEL: 'warn', DATA_DIR: tmpdir(), ...env });
      const log = createLog(config, process.stderr);
      const app = { config, log, db: createPool(url, { max: 1, log }) } as App;
      const bridges = startBridges(app, { id: () => '00000000-0000-0000-0000-000000000000' }, new Map());
      while (!bridges.states().every(({ connected }) => connected)) await sleep(10);
    }
    say('working');
  },
  end: () => process.exit(0),
});
say('ready');
