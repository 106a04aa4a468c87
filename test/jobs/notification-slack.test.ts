import assert from 'node:assert/strict';
import { after, before, beforeEach, suite, test } from 'node:test';
import { loadRegistry } from '../../worker/queue/registry.ts';
import { add, reads } from '../support/jobs.ts';
import { startSlack } from '../support/slack.ts';
import type { Vendor } from '../support/vendor.ts';
import { createRig, type Rig } from '../support/worker.ts';

// notification.slack end to end: a row, a worker, and a Slack on loopback.

let rig: Rig;
let slack: Vendor;

const send = (payload: object, columns: Record<string, unknown> = {}) =>
  add(rig.db, 'notification', 'slack', { payload, ...columns });
const done = async (payload: object) => reads(rig.db, await send(payload), { status: 'completed' }, 20_000);
const fails = async (payload: object, error_code: string) =>
  (await reads(rig.db, await send(payload), { status: 'failed', error_code }))['error'];
const posts = () => slack.taken.map(({ path, body }) => ({ path, ...JSON.parse(body) }));
const lastPost = () => posts().at(-1)!;

before(async () => {
  [rig, slack] = await Promise.all([createRig(), startSlack()]);
  await rig.worker(await loadRegistry(), {
    QUEUES: 'notification',
    SLACK_BOT_TOKEN: 'xoxb-test',
    SLACK_API_URL: slack.url,
    SLACK_WEBHOOK_URL: `${slack.url}/services/T0/B0/x`,
  });
});
beforeEach(() => slack.heal());
after(async () => {
  await rig.close();
  await slack.close();
});

suite('the JSON of each seed, as it stands', () => {
  test('NEXUS: a channel, and a text in the markup of Slack', async () => {
    const { result } = await done({
      type: 'slack',
      slack: { channel: '#video', text: 'Done: <https://x.example|look>' },
    });
    assert.deepEqual(lastPost(), {
      path: '/chat.postMessage',
      channel: '#video',
      text: 'Done: <https://x.example|look>',
      client_msg_id: result.delivery_id,
    });
    assert.deepEqual([result.provider, result.provider_message_id], ['bot', 'C024BE91L 1503435956.000247']);
  });

  test('NEXUS: a template, and blocks', async () => {
    await rig.db.query(
      `insert into notification_templates (id, channel, text) values ('ready', 'slack', '{{title}} & {{by}} ready')`,
    );
    await done({ type: 'slack', template: 'ready', templateData: { title: 'A', by: 'B' }, slack: { channel: 'C1' } });
    assert.deepEqual([lastPost().channel, lastPost().text], ['C1', 'A &amp; B ready']);
    const blocks = [{ type: 'divider' }];
    await done({ type: 'slack', slack: { channel: 'C2', blocks } });
    assert.deepEqual([lastPost().text, lastPost().blocks], ['', blocks]);
  });

  test('the messenger: a title and a body, of which none mentions a channel', async () => {
    await done({
      type: 'slack',
      userId: 'u1',
      slackChannel: 'U7',
      title: 'New <!channel>',
      body: 'John: <@U1> & you?',
    });
    assert.deepEqual(
      [lastPost().channel, lastPost().text],
      ['U7', '*New &lt;!channel&gt;*\nJohn: &lt;@U1&gt; &amp; you?'],
    );
  });

  test('the notification system: an event, whose message_id is sent once', async () => {
    const event = {
      notification_id: 'notif_slack',
      message_id: 'msg_slack',
      target_user_id: 'user_123',
      channel: 'slack',
      template_id: 'ready',
      payload: { channel: 'C3', title: 'A', by: 'B' },
      priority: 'critical',
      metadata: { source: 'signup_flow' },
    };
    await done(event);
    assert.equal(lastPost().channel, 'C3');
    const count = slack.taken.length;
    assert.equal((await done(event))['result'].repeated, true);
    await fails({ ...event, payload: { ...event.payload, by: 'C' } }, 'message_id_reused');
    assert.equal(slack.taken.length, count);
  });
});

test('another text of its own under the same message_id is refused', async () => {
  const message = { message_id: 'msg_own', slack: { channel: 'C4', text: 'one' } };
  await done(message);
  await fails({ ...message, slack: { channel: 'C4', text: 'two' } }, 'message_id_reused');
});

test('a message without a channel goes to the incoming webhook', async () => {
  const { result } = await done({ title: 'Deployed', body: 'Version 7' });
  assert.equal(result.provider, 'webhook');
  assert.deepEqual(lastPost(), { path: '/services/T0/B0/x', text: '*Deployed*\nVersion 7' });
});

test('what is missing, and what is wrong, is named', async () => {
  assert.match(await fails({ slack: { channel: 'C5' } }, 'invalid_payload'), /neither a template nor a title/);
  assert.match(await fails({ slack: { channel: 'a, b', text: 'x' } }, 'invalid_recipient'), /^payload\.slack\.channel/);
  slack.fail({ status: 200, body: '{"ok":false,"error":"channel_not_found"}' });
  assert.match(await fails({ slack: { channel: 'C6', text: 'x' } }, 'invalid_recipient'), /channel_not_found/);
  slack.fail({ status: 200, body: '{"ok":false,"error":"msg_too_long"}' });
  assert.match(await fails({ slack: { channel: 'C7', text: 'x' } }, 'message_refused'), /msg_too_long/);
});

test('no answer: it is posted again under the same key', async () => {
  slack.fail('drop', 1);
  await rig.db.query(`update queues set backoff_ms = 20 where name = 'notification'`);
  const { result, retry_count } = await done({ slack: { channel: 'C8', text: 'x' } });
  assert.equal(retry_count, 1);
  assert.equal(lastPost().client_msg_id, result.delivery_id);
});

test('one message a second in a channel, and no retry for that; other channels do not wait', async () => {
  const began = performance.now();
  const ids = await Promise.all(['C9', 'C9', 'C9', 'C10'].map((channel) => send({ slack: { channel, text: 'x' } })));
  await reads(rig.db, ids[3]!, { status: 'completed' });
  for (const id of ids) await reads(rig.db, id, { status: 'completed', retry_count: 0 }, 20_000);
  assert.ok(performance.now() - began > 1_900, 'three in less than two seconds');
});

test('too many requests: all messages of that channel wait as long as Slack says', async () => {
  slack.fail({ status: 429, headers: { 'retry-after': '2' } }, 1);
  const first = await send({ slack: { channel: 'C11', text: 'first' } });
  await reads(rig.db, first, { status: 'pending', attempt: 1 });
  const began = performance.now();
  const second = await send({ slack: { channel: 'C11', text: 'second' } });
  for (const id of [first, second]) await reads(rig.db, id, { status: 'completed', retry_count: 0 }, 30_000);
  assert.ok(performance.now() - began > 1_500);
});
