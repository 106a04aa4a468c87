import type { App } from '../app.ts';
import type { RabbitmqConfig } from '../base/config/rabbitmq.ts';
import type { Sealer } from '../queue/client/add.ts';
import { supervise, type Bridge } from './bridge.ts';
import { runDead } from './rabbitmq/dead.ts';
import { Ledger } from './rabbitmq/ledger.ts';
import { runSession } from './rabbitmq/session.ts';

/**
 * Makes jobs of the messages of RabbitMQ. Several processes may do so at once. No message is rejected or returned: it
 * is acknowledged when its job, or its row of rejected_messages, is committed.
 */
export function startRabbitmq(
  app: Pick<App, 'db' | 'log' | 'config'>,
  config: RabbitmqConfig,
  sealer?: Sealer,
): Bridge {
  const { db, log } = app;
  const ledger = new Ledger(db);
  return supervise('rabbitmq', app, (tell, signal) => runSession({ config, db, log, sealer, ledger }, tell, signal));
}

/** Publishes dead letters to RabbitMQ. */
export function startDead(app: Pick<App, 'db' | 'log' | 'config'>, config: RabbitmqConfig): Bridge {
  const { db } = app;
  return supervise('rabbitmq dead letters', app, ({ opened }, signal) => runDead({ config, db }, opened, signal));
}
