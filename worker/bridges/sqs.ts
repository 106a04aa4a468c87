import type { App } from '../app.ts';
import type { SqsConfig } from '../base/config/sqs.ts';
import type { Sealer } from '../queue/client/add.ts';
import { supervise, type Bridge } from './bridge.ts';
import { nameOf } from './sqs/message.ts';
import { runSession } from './sqs/session.ts';

/** Makes jobs of the messages of queues of SQS, a bridge for each queue. Several processes may do so at once. */
export function startSqs(app: Pick<App, 'db' | 'log' | 'config'>, config: SqsConfig, sealer?: Sealer): Bridge[] {
  const { db } = app;
  return config.queues.map((queue) =>
    supervise(`sqs:${nameOf(queue)}`, app, (tell, signal) => runSession({ queue, config, db, sealer }, tell, signal)),
  );
}
