import { html } from 'hono/html';

/**
 * A page for a person who followed a link of their own. It loads nothing, and tells nobody its address, which has the
 * secret of the link.
 */
export const pageOf = (title: string) => (content: ReturnType<typeof html>) =>
  html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width" />
        <meta name="color-scheme" content="light dark" />
        <title>${title}</title>
      </head>
      <body>
        ${content}
      </body>
    </html>`;

/** @param formAction where its forms may go */
export const pageHeaders = (formAction: `'none'` | `'self'`) => ({
  'cache-control': 'no-store',
  'content-security-policy': `default-src 'none'; form-action ${formAction}; frame-ancestors 'none'; base-uri 'none'`,
  'referrer-policy': 'no-referrer',
  'x-robots-tag': 'noindex',
});
