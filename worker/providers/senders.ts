import type { Config } from '../base/config/config.ts';
import type { EmailMessage } from './email/email.ts';
import { createEmailOutbox } from './email/outbox.ts';
import { createSendGrid } from './email/sendgrid.ts';
import { createSmtp } from './email/smtp.ts';
import { createFcm } from './push/fcm.ts';
import { createPushOutbox } from './push/outbox.ts';
import type { PushMessage } from './push/push.ts';
import { createOutbox } from './outbox.ts';
import type { Sender } from './sender.ts';
import { createSlackBot } from './slack/bot.ts';
import type { SlackMessage } from './slack/message.ts';
import { createSlackWebhook } from './slack/webhook.ts';
import type { PhoneMessage } from './twilio/message.ts';
import { createTwilioSms, createTwilioWhatsApp } from './twilio/twilio.ts';
import type { WebhookMessage } from './webhook/message.ts';
import { createWebhookOutbox } from './webhook/outbox.ts';
import { createStandardWebhook } from './webhook/standard.ts';

/** What the providers of each channel send. */
export type Messages = {
  email: EmailMessage;
  push: PushMessage;
  sms: PhoneMessage;
  whatsapp: PhoneMessage;
  slack: SlackMessage;
  webhook: WebhookMessage;
};
export type ChannelName = keyof Messages;

type Maker<Message> = (config: Config) => Sender<Message> | undefined;
type Providers<Message> = {
  /** By name, in their usual order. A maker returns undefined if its settings are not set. */
  providers: Record<string, Maker<Message>>;
  /** Where messages go in development, while none is configured. */
  outbox: (config: Config) => Sender<Message>;
};

/** The providers of each channel. A new one is a line here. */
const channels: { [Name in ChannelName]: Providers<Messages[Name]> } = {
  email: { providers: { sendgrid: createSendGrid, smtp: createSmtp }, outbox: createEmailOutbox },
  push: { providers: { fcm: createFcm }, outbox: createPushOutbox },
  sms: { providers: { twilio: createTwilioSms }, outbox: (config) => createOutbox('sms', config) },
  whatsapp: { providers: { twilio: createTwilioWhatsApp }, outbox: (config) => createOutbox('whatsapp', config) },
  slack: {
    providers: { bot: createSlackBot, webhook: createSlackWebhook },
    outbox: (config) => createOutbox('slack', config),
  },
  webhook: { providers: { standard: createStandardWebhook }, outbox: createWebhookOutbox },
};

export const channelNames = Object.keys(channels) as ChannelName[];

/** The providers of a channel that are configured, in the order in which they are tried. Production has no outbox. */
export function createSenders<Name extends ChannelName>(channel: Name, config: Config): Sender<Messages[Name]>[] {
  const { providers, outbox }: Providers<Messages[Name]> = channels[channel];
  const order = config[channel].providers ?? Object.keys(providers);
  const senders = order.map((name) => providers[name]?.(config)).filter((sender) => sender !== undefined);
  return senders.length > 0 || config.production ? senders : [outbox(config)];
}

/** Whether any of them lets us in. @throws what is wrong with the first */
export async function checkSenders(senders: Pick<Sender<never>, 'check'>[], signal: AbortSignal): Promise<void> {
  const faults: unknown[] = [];
  for (const sender of senders) {
    try {
      await sender.check?.({ signal });
      return;
    } catch (error) {
      faults.push(error);
    }
  }
  throw faults[0] ?? new Error('no provider is configured');
}
