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
  const passedOn = fromSns(received.Body ?? '');
  Object.assign(attributes, passedOn?.attributes);
  const body = Buffer.from(passedOn?.body ?? received.Body ?? '');
  const id = received.Attributes?.MessageDeduplicationId ?? received.MessageId;
  const named = attributes[keyAttribute];
  if (typeof named === 'string') return { key: named, body, headers: attributes, id };
  const { headers, ...message } = addressed(body, key);
  return { ...message, headers: { ...attributes, ...headers }, id };
}

/** https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html */
function fromSns(text: string): { body: string; attributes: Record<string, unknown> } | undefined {
  const envelope = objectIn(text);
  if (envelope?.['Type'] !== 'Notification' || typeof envelope['Message'] !== 'string') return undefined;
  if (!('TopicArn' in envelope)) return undefined;
  const attributes = Object.entries(
    (envelope['MessageAttributes'] ?? {}) as Record<string, { Value?: unknown } | null>,
  );
  return {
    body: envelope['Message'],
    attributes: Object.fromEntries(attributes.map(([name, attribute]) => [name, attribute?.Value])),
  };
}

/** In the order in which they were sent to a queue that keeps it. */
export const inOrder = (messages: readonly Received[]): Received[] =>
  messages.toSorted((a, b) => Number(numberOf(a) - numberOf(b)));

const numberOf = ({ Attributes }: Received) => BigInt(Attributes?.SequenceNumber ?? 0);
