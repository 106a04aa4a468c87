import assert from 'node:assert/strict';
import { startVendor, type Vendor } from './vendor.ts';

const said = (body: object, headers: Record<string, string> = {}) => ({
  status: 200,
  body: JSON.stringify(body),
  headers,
});

/** Slack on loopback: its API, and incoming webhooks, as strict as the real one about what they take. */
export const startSlack = (at?: number): Promise<Vendor> =>
  startVendor(
    ({ method, path, headers, body }) => {
      assert.equal(method, 'POST');
      assert.equal(headers['content-type'], 'application/json; charset=utf-8');
      const message = JSON.parse(body) as Record<string, unknown>;
      const isEmpty = !message['text'] && !message['blocks'] && !message['attachments'];
      if (path.startsWith('/services/'))
        return isEmpty ? { status: 400, body: 'no_text' } : { status: 200, body: 'ok' };
      if (!headers.authorization?.startsWith('Bearer xoxb-')) return said({ ok: false, error: 'invalid_auth' });
      if (path === '/auth.test') return said({ ok: true }, { 'x-oauth-scopes': 'chat:write,channels:read' });
      assert.equal(path, '/chat.postMessage');
      if (isEmpty) return said({ ok: false, error: 'no_text' });
      return said({ ok: true, channel: 'C024BE91L', ts: '1503435956.000247', message });
    },
    ({ path, body }) => body !== '{}' && path !== '/auth.test',
    at,
  );
