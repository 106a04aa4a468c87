import assert from 'node:assert/strict';
import { startVendor, type Asked, type Vendor } from './vendor.ts';

export const account = {
  TWILIO_ACCOUNT_SID: `AC${'0123456789abcdef'.repeat(2)}`,
  TWILIO_AUTH_TOKEN: 'twilio-secret-8e21',
  TWILIO_PHONE_NUMBER: '+14155550100',
  TWILIO_WHATSAPP_NUMBER: '+14155550111',
};

/** A message as Twilio has it: what it was asked, and what it made of it. */
export type SentMessage = { sid: string; status: string; at: Date; fields: Record<string, string> };

export type FakeTwilio = Vendor & {
  env: Record<string, string>;
  messages: SentMessage[];
  /** Why it refused requests of which no test said that they fail. */
  refused: string[];
};

/** Twilio's API for messages on loopback. https://www.twilio.com/docs/messaging/api/message-resource */
export async function startTwilio(): Promise<FakeTwilio> {
  const messages: SentMessage[] = [];
  const refused: string[] = [];
  const vendor = await startVendor((asked) => {
    try {
      return { status: asked.method === 'POST' ? 201 : 200, body: JSON.stringify(answerTo(asked, messages)) };
    } catch (error) {
      refused.push(String(error));
      return { status: 400, body: JSON.stringify({ code: 99999, status: 400, message: String(error) }) };
    }
  });
  return { ...vendor, env: { ...account, TWILIO_API_URL: vendor.url }, messages, refused };
}

/** What it answers instead, as Twilio words it. */
export const fault = (status: number, code?: number, headers: Record<string, string> = {}, message = '') => ({
  status,
  headers: { 'content-type': 'application/json', ...headers },
  body: JSON.stringify({ ...(code ? { code } : {}), status, message }),
});

/** Takes, lists, or tells of the account. @throws AssertionError for what Twilio would not take */
function answerTo({ method, path, headers, body }: Asked, messages: SentMessage[]): object {
  const login = `${account.TWILIO_ACCOUNT_SID}:${account.TWILIO_AUTH_TOKEN}`;
  assert.equal(headers.authorization, `Basic ${Buffer.from(login).toString('base64')}`);
  const url = new URL(path, 'http://twilio');
  const resource = `/2010-04-01/Accounts/${account.TWILIO_ACCOUNT_SID}`;
  if (url.pathname === `${resource}.json`)
    return { sid: account.TWILIO_ACCOUNT_SID, status: 'active', type: 'Full', date_created: null, date_updated: null };
  assert.equal(url.pathname, `${resource}/Messages.json`);
  if (method === 'GET') {
    const to = url.searchParams.get('To');
    const found = messages.filter(({ fields }) => !to || fields['To'] === to).toReversed();
    return { messages: found.map(shown), page: 0, page_size: 200, next_page_uri: null };
  }
  assert.match(headers['content-type']!, /^application\/x-www-form-urlencoded/);
  const fields = Object.fromEntries(new URLSearchParams(body));
  assert.match(fields['To']!, /^(whatsapp:)?\+[1-9]\d{6,14}$/);
  assert.ok(Boolean(fields['From']) !== Boolean(fields['MessagingServiceSid']), 'one sender');
  assert.ok(Boolean(fields['Body']) !== Boolean(fields['ContentSid']), 'a text or a template');
  if (fields['From']) assert.equal(fields['From'].startsWith('whatsapp:'), fields['To']!.startsWith('whatsapp:'));
  if (fields['ContentSid'])
    for (const value of Object.values(JSON.parse(fields['ContentVariables']!)))
      assert.match(value as string, /^[^\n\t]+$/);
  const sid = `SM${String(messages.length).padStart(32, '0')}`;
  messages.push({ sid, status: 'queued', at: new Date(), fields });
  return shown(messages.at(-1)!);
}

const shown = ({ sid, status, at, fields }: SentMessage) => ({
  sid,
  status,
  body: fields['Body'] ?? 'what the template made',
  to: fields['To'],
  from: fields['From'] ?? null,
  direction: 'outbound-api',
  date_created: at.toUTCString(),
  date_updated: at.toUTCString(),
  date_sent: null,
  num_segments: '1',
});
