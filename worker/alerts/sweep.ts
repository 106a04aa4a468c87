import { randomUUID } from 'node:crypto';
import type { App } from '../app.ts';
import { transaction, type Tx } from '../base/db/db.ts';
import { loadStatements, query } from '../base/db/sql.ts';
import { addJobs, type Sealer } from '../queue/client/add.ts';
import { messageFor, type Telling } from './message.ts';

const sql = loadStatements(import.meta.dirname, 'sweep.sql', [
  'take_turn',
  'note_conditions',
  'alerts_to_tell',
  'note_told',
  'note_messages',
]);

/** A condition has passed when no sweep has seen it for so long. */
const absentS = 30;
/** The most messages in the time of a digest. */
const mostMessages = 8;
/** Alerts start before everything else in their queue. */
const priority = -1_000;

type Channel = 'email' | 'slack' | 'webhook';
type Way = { channel: Channel; payload: (message: ReturnType<typeof messageFor>) => object };

/**
 * Compares what is wrong now with the alerts that are open, and adds the jobs that tell people, all in one transaction.
 * One process of the fleet does so at a time. A process without a channel of its own opens and resolves alerts, and
 * leaves the telling to those that have one.
 */
export async function sweepAlerts(
  { db, config, log }: Pick<App, 'db' | 'config' | 'log'>,
  sealer: Sealer | undefined,
): Promise<void> {
  const { digestMs, sweepMs } = config.alerts;
  const digest_s = digestMs / 1_000;
  const ways = waysOf(config);
  const told = await transaction(db, async (tx) => {
    const [turn] = await query<{ due: boolean }>(tx, sql.take_turn, { every_s: (sweepMs * 2) / 3_000 });
    if (turn?.due) await query(tx, sql.note_conditions, { digest_s, absent_s: absentS });
    if (!turn || ways.length === 0) return [];
    const alerts = await query<Telling>(tx, sql.alerts_to_tell, { digest_s, most: mostMessages });
    if (alerts.length === 0) return [];
    await query(tx, sql.note_told, { ids: alerts.map(({ id }) => id) });
    await tell(tx, alerts, ways);
    return alerts;
  });
  for (const { condition, subject, count, state } of told)
    log[state === 'resolved' ? 'info' : 'warn']({ condition, subject, count, state }, 'an alert was sent');

  async function tell(tx: Tx, alerts: Telling[], all: Way[]): Promise<void> {
    const messages = all.flatMap(({ channel, payload }) => {
      // That a channel is down is told over the others.
      const some = alerts.filter(({ condition, subject }) => condition !== 'alert_channel' || subject !== channel);
      if (some.length === 0) return [];
      return [{ channel, alerts: some.map(({ id }) => id), payload: payload(messageFor(some, config.publicUrl)) }];
    });
    if (messages.length === 0) return;
    const jobs = messages.map(({ channel, payload }) => ({
      queue: 'notification',
      kind: channel,
      payload,
      priority,
      dedupe_key: `rowmill:alert:${randomUUID()}`,
    }));
    const added = await addJobs(tx, jobs, sealer);
    const rows = messages.map(({ channel, alerts: ids }, n) => ({ job_id: added[n]!.id, channel, alerts: ids }));
    await query(tx, sql.note_messages, { messages: JSON.stringify(rows) });
  }
}

/** Each way on which this process sends alerts, and the payload of its job. */
function waysOf({ alerts: { email, slackChannel, webhookUrl } }: App['config']): Way[] {
  const ways: Way[] = email.map((to) => ({
    channel: 'email',
    payload: ({ title, text, links }) => ({ email: { to }, title, body: text, data: links }),
  }));
  if (slackChannel !== undefined)
    ways.push({
      channel: 'slack',
      payload: ({ title, text, links }) => ({
        slack_channel: slackChannel,
        title,
        body: [text, ...Object.values(links)].join('\n\n'),
      }),
    });
  if (webhookUrl !== undefined)
    ways.push({
      channel: 'webhook',
      payload: ({ event }) => ({ webhook: { url: webhookUrl, event: event.type, body: event } }),
    });
  return ways;
}
