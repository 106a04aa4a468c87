import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, afterEach, before, suite, test } from 'node:test';
import { loadConfig } from '../../worker/base/config/config.ts';
import { DeploymentError, PermanentError, RetryableError, Snooze } from '../../worker/base/errors.ts';
import type { Sender } from '../../worker/providers/sender.ts';
import { fcm } from './contract/fcm.ts';
import { canary, type Expected, type FarSide, type Row } from './contract/row.ts';
import { sendgrid } from './contract/sendgrid.ts';
import { slackBot, slackWebhook } from './contract/slack.ts';
import { smtp } from './contract/smtp.ts';
import { twilioSms, twilioWhatsApp } from './contract/twilio.ts';
import { webhook } from './contract/webhook.ts';

// What each provider of messages holds to. A provider is a row: contract/row.ts says what it consists of.

const rows: Row[] = [smtp, sendgrid, fcm, twilioSms, twilioWhatsApp, slackBot, slackWebhook, webhook];

for (const row of rows)
  suite(row.name, () => {
    const channel = row.name.split('/')[0]!;
    let far: FarSide;
    let sender: Sender<unknown>;
    before(async () => {
      far = await row.start();
      sender = create({});
    });
    afterEach(() => far.heal());
    after(async () => {
      await sender.close?.();
      await far.close();
    });

    const create = (env: Record<string, string>): Sender<unknown> =>
      row.create(loadConfig({ ...far.env, ...env })) as Sender<unknown>;
    const send = (key: string = randomUUID(), by = sender, signal = new AbortController().signal) =>
      by.send(far.message ?? row.message, { key, signal });
    /** What became of a message, as a row says it. Also that the error tells nothing that is secret. */
    async function outcome(sent: Promise<unknown>): Promise<string> {
      try {
        await sent;
        return 'sent';
      } catch (error) {
        for (const text of told(error))
          for (const secret of [canary, ...row.secrets]) assert.ok(!text.includes(secret), `it tells ${secret}`);
        return outcomeOf(error, channel);
      }
    }
    const becomes = async (sent: Promise<unknown>, expected: Expected | 'sent') =>
      assert.equal(await outcome(sent), expected);

    test('has the name that settings name', () => assert.equal(sender.name, row.name.split('/')[1]));

    test('is undefined without its settings', () => assert.equal(row.create(loadConfig({})), undefined));

    test('sends a message, and the same one under the same key', async () => {
      const key = randomUUID();
      for (const receipt of [await send(key), await send(key)])
        assert.equal(typeof (receipt.provider_message_id ?? ''), 'string');
      const taken = far.taken().slice(-2);
      assert.deepEqual(taken, row.keyless ? [taken[0], taken[0]] : [key, key]);
    });

    for (const [what, fault, expected] of row.cases)
      test(`${what}: ${expected}`, async () => {
        const taken = far.taken().length;
        far.fail(fault);
        // A connection on which it has logged in already would not meet a refusal of its login.
        const fresh = create({});
        await becomes(send(undefined, fresh), expected);
        await fresh.close?.();
        assert.equal(far.taken().length, taken);
      });

    // The address of a webhook is that of its recipient.
    if (row.gone)
      test('nobody listens: a fault of the deployment, and nothing was sent', async () => {
        const gone = create(row.gone!);
        const code = await outcome(send(undefined, gone));
        assert.match(code, /^fault \w+_unavailable$/);
        await assert.rejects(async () => gone.check!({ signal: AbortSignal.timeout(20_000) }));
        await gone.close?.();
      });

    test('the connection drops after the message: unknown', async () => {
      far.fail('drop');
      await becomes(send(), 'unknown');
    });

    test('no answer in time: unknown', async () => {
      far.fail('hang');
      const impatient = create(row.impatient);
      await becomes(send(undefined, impatient), 'unknown');
      await impatient.close?.();
    });

    test(`an answer without end: ${row.endless}`, async () => {
      far.fail('endless');
      const impatient = create(row.impatient);
      await becomes(send(undefined, impatient), row.endless);
      await impatient.close?.();
    });

    test('stopped before it began: the reason, and nothing was sent', async () => {
      const taken = far.taken().length;
      const reason = new Error('stopped');
      await assert.rejects(send(undefined, sender, AbortSignal.abort(reason)), (error) => error === reason);
      assert.equal(far.taken().length, taken);
    });

    test('stopped while it was on its way: unknown', async () => {
      far.fail('hang');
      const stop = new AbortController();
      const sent = outcome(send(undefined, sender, stop.signal));
      await far.hanging();
      stop.abort(new Error('stopped'));
      assert.equal(await sent, 'unknown');
    });

    if (row.locked)
      test('its check passes, sends nothing, and fails when it is locked out', async () => {
        const taken = far.taken().length;
        assert.equal(await sender.check!({ signal: AbortSignal.timeout(20_000) }), undefined);
        far.fail(row.locked!);
        const fresh = create({});
        await assert.rejects(async () => fresh.check!({ signal: AbortSignal.timeout(20_000) }), DeploymentError);
        await fresh.close?.();
        assert.equal(far.taken().length, taken);
      });
  });

function outcomeOf(error: unknown, channel: string): string {
  if (error instanceof PermanentError) return `permanent ${error.code}`;
  if (error instanceof RetryableError) return `retryable ${error.code}`;
  if (error instanceof Snooze) return `snooze ${error.delayMs}`;
  if (!(error instanceof DeploymentError)) return 'unknown';
  assert.equal(error.dependency, channel);
  return `fault ${error.code}`;
}

/** What of an error is written to rows and to the log. */
const told = (error: unknown): string[] => (error instanceof Error ? [error.message] : [String(error)]);
