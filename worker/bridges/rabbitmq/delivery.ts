import type { ConsumeMessage } from 'amqplib';
import type { Message } from '../../queue/ingest/message.ts';

/** A message, and the queue that it came from. */
export type Delivery = { queue: string; message: ConsumeMessage };

export const sourceOf = (queue: string) => `rabbitmq:${queue}`;

/** For ingest. RabbitMQ's more urgent priorities are the larger ones, ours the smaller ones. */
export function messageOf({ message: { fields, properties, content } }: Delivery): Message {
  const { headers, messageId, priority } = properties;
  return {
    key: fields.routingKey,
    body: content,
    headers: headers ?? {},
    id: typeof messageId === 'string' && messageId !== '' ? messageId : undefined,
    priority: typeof priority === 'number' && priority > 0 ? -Math.min(priority, 255) : undefined,
  };
}
