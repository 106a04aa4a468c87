import type { Message } from '../queue/ingest/message.ts';

/**
 * A message of a queue without routing keys. It says what it is in its body: `{"kind": "media.image", "payload": {}}`,
 * beside them what headers may say, such as `priority`; or `kind` in the payload itself.
 * @param found the object in the body, if it is one
 * @param key for a message that does not say it
 */
export function addressed(
  body: Uint8Array,
  found: Record<string, unknown> | undefined,
  key: string,
): Pick<Message, 'key' | 'body' | 'parsed' | 'headers'> {
  if (!found) return { key, body };
  const { kind, payload, ...rest } = found;
  if (typeof kind !== 'string' || !kind.includes('.')) return { key, body, parsed: found };
  if (payload === undefined) return { key: kind, body, parsed: found };
  return { key: kind, body: Buffer.from(JSON.stringify(payload)), parsed: payload, headers: rest };
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
