import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { deliveriesOf, deliveryCounts, latestDeliveries } from '../../../worker/queue/client/deliveries.ts';
import { createDatabase, type TestDatabase } from '../../support/database.ts';

// What became of notifications, without an address.

let db: TestDatabase;
before(async () => {
  db = await createDatabase();
  await db.query(`
    insert into notifications (id, message_id, channel, template_id)
    select 'n' || n, 'order-' || n, 'email', 'welcome' from generate_series(1, 3) n;
    insert into notification_deliveries
           (notification_id, channel, recipient_hash, status, provider, error_code, updated_at)
    values ('n1', 'email', repeat('a', 64), 'delivered', 'smtp', null, now() - interval '3 minutes'),
           ('n2', 'sms', repeat('b', 64), 'ambiguous', 'twilio', 'unknown_outcome', now() - interval '2 minutes'),
           ('n3', 'email', repeat('a', 64), 'bounced', 'smtp', 'smtp_rejected', now() - interval '1 minute');
    insert into notification_events (provider, provider_event_id, delivery_id, event, detail, occurred_at)
    select 'smtp', 'e' || n, d.id, case n when 1 then 'processed' else 'delivered' end, '{"code": 250}',
           now() - interval '1 hour' / n
      from notification_deliveries d, generate_series(2, 1, -1) n where d.notification_id = 'n1'`);
});
after(() => db.drop());

const ids = async (filter: Partial<Parameters<typeof latestDeliveries>[1]>) =>
  (await latestDeliveries(db, { limit: 10, ...filter })).map(({ message_id }) => message_id);

test('the latest come first, all or those of a status and channel', async () => {
  assert.deepEqual(await ids({}), ['order-3', 'order-2', 'order-1']);
  assert.deepEqual(await ids({ limit: 1 }), ['order-3']);
  assert.deepEqual(await ids({ channel: 'email' }), ['order-3', 'order-1']);
  assert.deepEqual(await ids({ status: 'ambiguous' }), ['order-2']);
  assert.deepEqual(await ids({ status: 'ambiguous', channel: 'email' }), []);
  assert.deepEqual(await ids({ status: 'sent' }), []);
});

test('a message is found by its id, with what was reported of it in order', async () => {
  const { deliveries, events } = await deliveriesOf(db, 'order-1');
  assert.deepEqual(
    deliveries.map(({ status, channel, template_id }) => [status, channel, template_id]),
    [['delivered', 'email', 'welcome']],
  );
  assert.deepEqual(
    events.map(({ event, detail }) => [event, detail]),
    [
      ['processed', { code: 250 }],
      ['delivered', { code: 250 }],
    ],
  );
  assert.deepEqual(await deliveriesOf(db, 'order-4'), { deliveries: [], events: [] });
});

test('a recipient is the beginning of a hash: the same for the same address', async () => {
  const told = await latestDeliveries(db, { limit: 10 });
  assert.deepEqual(
    told.map(({ recipient }) => recipient),
    ['a', 'b', 'a'].map((letter) => letter.repeat(10)),
  );
  assert.doesNotMatch(JSON.stringify(told), /a{11}|b{11}/);
});

test('those of a day are counted by channel and status', async () => {
  assert.deepEqual(await deliveryCounts(db), [
    { channel: 'email', status: 'bounced', deliveries: 1 },
    { channel: 'email', status: 'delivered', deliveries: 1 },
    { channel: 'sms', status: 'ambiguous', deliveries: 1 },
  ]);
});
