import { loadStatements, query, type Queryable } from '../../base/db/sql.ts';

/** What became of notifications, for people who look after them. */

const sql = loadStatements(import.meta.dirname, 'deliveries.sql', [
  'latest_deliveries',
  'ambiguous_deliveries',
  'deliveries_of',
  'events_of',
  'delivery_counts',
]);

export const deliveryStatuses = [
  'queued',
  'sending',
  'sent',
  'delivered',
  'read',
  'failed',
  'bounced',
  'ambiguous',
  'skipped',
] as const;
export type DeliveryStatus = (typeof deliveryStatuses)[number];

export type Delivery = {
  id: string;
  message_id: string;
  template_id: string | null;
  channel: string;
  status: DeliveryStatus;
  /** The beginning of the recipient's hash: the same for the same address. */
  recipient: string;
  provider: string | null;
  provider_message_id: string | null;
  error_code: string | null;
  job_id: number | null;
  created_at: Date;
  sent_at: Date | null;
  updated_at: Date;
};

/** What changed last, the newest first: among the last 10,000 changes. All `ambiguous` ones are found. */
export async function latestDeliveries(
  db: Queryable,
  { status = null, channel = null, limit }: { status?: DeliveryStatus | null; channel?: string | null; limit: number },
): Promise<Delivery[]> {
  if (status === 'ambiguous' && channel === null) return query<Delivery>(db, sql.ambiguous_deliveries, { limit });
  return query<Delivery>(db, sql.latest_deliveries, { status, channel, limit });
}

/** What a provider reported of a delivery. `detail` has no address. */
export type DeliveryEvent = { delivery_id: string; provider: string; event: string; detail: unknown; at: Date };

/** The deliveries of one notification, and what was reported of them. */
export async function deliveriesOf(
  db: Queryable,
  message_id: string,
): Promise<{ deliveries: Delivery[]; events: DeliveryEvent[] }> {
  const deliveries = await query<Delivery>(db, sql.deliveries_of, { message_id, limit: 200 });
  const events = await query<DeliveryEvent>(db, sql.events_of, { ids: deliveries.map(({ id }) => id) });
  return { deliveries, events };
}

export type DeliveryCount = { channel: string; status: DeliveryStatus; deliveries: number };

/** Of a day, at most of the last 100,000. */
export async function deliveryCounts(db: Queryable): Promise<DeliveryCount[]> {
  return query<DeliveryCount>(db, sql.delivery_counts);
}
