import type { SendMailOptions } from 'nodemailer';

/** An email to one recipient. */
export type EmailMessage = {
  to: string;
  /** Without: EMAIL_FROM. */
  from?: string;
  subject: string;
  text: string;
  html?: string;
  /** Of bulk mail: where its recipient unsubscribes with one click. https://www.rfc-editor.org/rfc/rfc8058 */
  unsubscribe?: { url: string };
};

/**
 * For nodemailer. The Message-ID is the same for each repeat, so that mail programs show one of them. What a payload
 * says is never read as a file or as an address to fetch.
 */
export function mailOf(message: EmailMessage, settings: { from: string; replyTo?: string | undefined }, key: string) {
  const { to, from = settings.from, subject, text, html, unsubscribe } = message;
  const domain = /@([^\s<>@]+)>?$/.exec(from)?.[1] ?? 'localhost';
  return {
    from,
    to: { name: '', address: to },
    subject,
    text,
    ...(html === undefined ? {} : { html }),
    ...(settings.replyTo ? { replyTo: settings.replyTo } : {}),
    messageId: `<${key}@${domain}>`,
    disableFileAccess: true,
    disableUrlAccess: true,
    headers: {
      'Auto-Submitted': 'auto-generated',
      ...(unsubscribe
        ? {
            'List-Unsubscribe': `<${unsubscribe.url}>`,
            'List-Unsubscribe-Post': 'List-Unsubscribe=One-Click',
          }
        : {}),
    },
  } satisfies SendMailOptions;
}
