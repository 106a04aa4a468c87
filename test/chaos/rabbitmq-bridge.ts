import { startRabbitmq } from '../../worker/bridges/rabbitmq.ts';
import { loadConfig } from '../../worker/base/config/config.ts';
import { createPool } from '../../worker/base/db/db.ts';
import { createLog } from '../../worker/base/log.ts';

// A bridge in a process of its own, without a worker. Started by rabbitmq.ts.

const config = loadConfig({ LOG_LEVEL: 'error', ...process.env });
const log = createLog(config);
const db = createPool(config.databaseUrl!, { max: 2, log });
startRabbitmq({ db, log, config }, config.rabbitmq!);
process.on('disconnect', () => process.exit(0));
