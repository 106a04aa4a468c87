import type { Message } from '../queue/ingest/message.ts';

/**
 * A message of a queue without routing keys. It says what it is in its body: `{"kind": "media.image", "payload": {}}`,
 * beside them what headers may say, such as `priority`; or `kind` in the payload itself.
 * @param key for a message that does not say it
 */
export function addressed(body: Buffer, key: string): Pick<Message, 'key' | 'body' | 'headers'> {
  const { kind, payload, ...rest } = objectIn(body.toString('utf8')) ?? {};
  if (typeof kind !== 'string' || !kind.includes('.')) return { key, body };
  if (payload === undefined) return { key: kind, body };
  return { key: kind, body: Buffer.from(JSON.stringify(payload)), headers: rest };
}

/** Undefined if the text is no JSON object. */
export function objectIn(text: string): Record<string, unknown> | undefined {
  if (!text.trimStart().startsWith('{')) return undefined;
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}
