import type { App } from '../../worker/app.ts';
import { loadConfig } from '../../worker/base/config/config.ts';
import { createPool } from '../../worker/base/db/db.ts';
import { createLog } from '../../worker/base/log.ts';
import { startBridges } from '../../worker/bridges/bridges.ts';

// The bridges of the settings in a process of its own, without a worker. Started by bridges.ts.

const config = loadConfig({ LOG_LEVEL: 'fatal', ...process.env });
const log = createLog(config);
const db = createPool(config.databaseUrl!, { max: 4, log });
startBridges({ db, log, config } as App, { id: () => '00000000-0000-0000-0000-000000000000' }, new Map());
process.on('disconnect', () => process.exit(0));
