import type { Message as Received } from '@aws-sdk/client-sqs';
import type { SqsConfig, SqsQueue } from '../../base/config/sqs.ts';
import type { Message } from '../../queue/ingest/message.ts';
import { addressed, objectIn } from '../envelope.ts';

/** What a media worker sends to its queue, where neither the message nor the setting says what it is. */
const usualKey = 'media.thumbnails';

/** The last part of its address. */
export const nameOf = ({ url }: Pick<SqsQueue, 'url'>): string => url.split('/').at(-1) ?? '';

/** For ingest. An attribute names the kind, or the body, or the setting. An envelope of SNS is taken off. */
export function messageOf(received: Received, { key = usualKey }: SqsQueue, { keyAttribute }: SqsConfig): Message {
  const attributes: Record<string, unknown> = {};
  for (const [name, { StringValue, BinaryValue }] of Object.entries(received.MessageAttributes ?? {}))
    attributes[name] = StringValue ?? BinaryValue;
  const { text, found, passedOn } = contentOf(received.Body ?? '');
  Object.assign(attributes, passedOn);
  const body = Buffer.from(text);
  const id = received.Attributes?.MessageDeduplicationId ?? received.MessageId;
  const named = attributes[keyAttribute];
  if (typeof named === 'string') return { key: named, body, parsed: found, headers: attributes, id };
  const { headers, ...message } = addressed(body, found, key);
  return { ...message, headers: { ...attributes, ...headers }, id };
}

/** A body, and the object that it is; of a message of SNS that which SNS passed on. */
type Content = { text: string; found: Record<string, unknown> | undefined; passedOn?: Record<string, unknown> };

/** https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html */
function contentOf(text: string): Content {
  const found = objectIn(text);
  const inner = found?.['Message'];
  if (found?.['Type'] !== 'Notification' || typeof inner !== 'string' || !('TopicArn' in found)) return { text, found };
  const attributes = Object.entries((found['MessageAttributes'] ?? {}) as Record<string, { Value?: unknown } | null>);
  const passedOn = Object.fromEntries(attributes.map(([name, attribute]) => [name, attribute?.Value]));
  return { text: inner, found: objectIn(inner), passedOn };
}

/** In the order in which they were sent to a queue that keeps it. */
export const inOrder = (messages: readonly Received[]): Received[] =>
  messages.toSorted((a, b) => Number(numberOf(a) - numberOf(b)));

const numberOf = ({ Attributes }: Received) => BigInt(Attributes?.SequenceNumber ?? 0);
