import assert from 'node:assert/strict';
import { startVendor, type Vendor } from './vendor.ts';

/** SendGrid on loopback, as strict as the real one about what it takes. */
export const startSendGrid = (at?: number): Promise<Vendor> =>
  startVendor(
    ({ path, headers, body }) => {
      assert.match(headers.authorization!, /^Bearer SG\./);
      if (path === '/v3/scopes') return { status: 200, body: '{"scopes":["mail.send"]}' };
      const { personalizations, from, subject, content } = JSON.parse(body);
      assert.match(personalizations[0].to[0].email, /@/);
      assert.match(from.email, /^[^<>]+@[^<>]+$/);
      assert.ok(subject && content.every(({ value }: { value: string }) => value));
      assert.equal(content[0].type, 'text/plain');
      return { status: 202, headers: { 'x-message-id': 'sg-14c5d75ce93' } };
    },
    ({ method, path }) => method === 'POST' && path === '/v3/mail/send',
    at,
  );
