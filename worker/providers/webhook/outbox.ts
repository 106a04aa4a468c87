import type { Config } from '../../base/config/config.ts';
import { createOutbox } from '../outbox.ts';
import type { Sender } from '../sender.ts';
import type { WebhookMessage } from './message.ts';

/** Webhooks as files: where they would go, and what they would say. */
export const createWebhookOutbox = (config: Pick<Config, 'dataDir'>): Sender<WebhookMessage> =>
  createOutbox('webhook', config, ({ url, body }) => ({ url, body: JSON.parse(body) as unknown }));
