import { decoded } from '../address.ts';
import { group } from './group.ts';
import { orderFaults } from './order.ts';
import { flag, integer, list, secret, text, url } from './values.ts';

/** How to reach an SMTP server. */
export type SmtpConfig = {
  host: string;
  port: number;
  /** TLS from the beginning. Otherwise the connection is upgraded by STARTTLS if the server offers it. */
  secure: boolean;
  /** Nothing is sent over a connection that is not encrypted. */
  requireTls: boolean;
  user: string | undefined;
  pass: string | undefined;
  connections: number;
  /** Messages a second over the whole fleet; undefined: no limit. */
  perSecond: number | undefined;
  timeoutMs: number;
  dkim: { domainName: string; keySelector: string; privateKey: string } | undefined;
};

export type SendGridConfig = {
  key: string;
  url: string;
  /** Messages a second over the whole fleet. */
  perSecond: number;
  timeoutMs: number;
};

const needs = { sendgrid: ['SENDGRID_API_KEY'], smtp: ['SMTP_URL', 'SMTP_HOST'] };

const address = /^(?:[^<>@]+<[^<>@\s]+@[^<>@\s]+>|[^<>@\s]+@[^<>@\s]+)$/;

/** Email, and what sends it. */
export const email = group({
  settings: {
    EMAIL_PROVIDERS: list.optional(),
    EMAIL_FROM: text.regex(address, 'must be an address, such as Shop <hello@shop.example>').optional(),
    EMAIL_REPLY_TO: text.regex(address, 'must be an address').optional(),
    SENDGRID_API_KEY: secret,
    SENDGRID_URL: url.optional(),
    SENDGRID_RATE: integer(1, 100_000).optional(),
    SENDGRID_TIMEOUT: integer(100, 600_000).optional(),
    SMTP_URL: text
      .refine((value) => readUrl(value) !== undefined, 'must be smtp(s)://user:password@host:port')
      .optional(),
    SMTP_HOST: text.optional(),
    SMTP_PORT: integer(1, 65_535).optional(),
    SMTP_SECURE: flag.optional(),
    SMTP_REQUIRE_TLS: flag.optional(),
    SMTP_USER: text.optional(),
    SMTP_PASS: secret,
    SMTP_CONNECTIONS: integer(1, 100).optional(),
    SMTP_RATE: integer(1, 100_000).optional(),
    SMTP_TIMEOUT: integer(100, 600_000).optional(),
    DKIM_DOMAIN: text.optional(),
    DKIM_SELECTOR: text.optional(),
    DKIM_PRIVATE_KEY: secret,
  },
  together: {
    'SMTP login': ['SMTP_USER', 'SMTP_PASS'],
    DKIM: ['DKIM_DOMAIN', 'DKIM_SELECTOR', 'DKIM_PRIVATE_KEY'],
  },
  faults(given, env) {
    const server = 'SMTP_URL' in given ? 'SMTP_URL' : 'SMTP_HOST' in given ? 'SMTP_HOST' : undefined;
    const sends = server ?? ('SENDGRID_API_KEY' in given ? 'SENDGRID_API_KEY' : undefined);
    const faults = orderFaults('EMAIL_PROVIDERS', env?.EMAIL_PROVIDERS, needs, given);
    if ('SMTP_URL' in given && 'SMTP_HOST' in given) faults.push('SMTP_HOST: is set, while SMTP_URL names the server');
    if (sends && !('EMAIL_FROM' in given)) faults.push(`EMAIL_FROM: is missing, while ${sends} is set`);
    if (!server && 'SMTP_USER' in given) faults.push('SMTP_HOST: is missing, while SMTP_USER is set');
    return faults;
  },
  read(env) {
    const server = env.SMTP_URL ? readUrl(env.SMTP_URL) : undefined;
    const host = server?.host ?? env.SMTP_HOST;
    const secure = env.SMTP_SECURE ?? server?.secure ?? env.SMTP_PORT === 465;
    const smtp: SmtpConfig | undefined = host
      ? {
          host,
          port: server?.port ?? env.SMTP_PORT ?? (secure ? 465 : 587),
          secure,
          requireTls: env.SMTP_REQUIRE_TLS ?? false,
          user: server?.user ?? env.SMTP_USER,
          pass: server?.pass ?? env.SMTP_PASS,
          connections: env.SMTP_CONNECTIONS ?? 5,
          perSecond: env.SMTP_RATE,
          timeoutMs: env.SMTP_TIMEOUT ?? 30_000,
          dkim: env.DKIM_DOMAIN
            ? { domainName: env.DKIM_DOMAIN, keySelector: env.DKIM_SELECTOR!, privateKey: pem(env.DKIM_PRIVATE_KEY!) }
            : undefined,
        }
      : undefined;
    return {
      email: {
        /** In the order in which they are tried. Undefined: all that are configured. */
        providers: env.EMAIL_PROVIDERS,
        from: env.EMAIL_FROM ?? 'Rowmill <noreply@localhost>',
        replyTo: env.EMAIL_REPLY_TO,
        sendgrid: env.SENDGRID_API_KEY
          ? ({
              key: env.SENDGRID_API_KEY,
              url: env.SENDGRID_URL ?? 'https://api.sendgrid.com',
              perSecond: env.SENDGRID_RATE ?? 500,
              timeoutMs: env.SENDGRID_TIMEOUT ?? 30_000,
            } satisfies SendGridConfig)
          : undefined,
        smtp,
      },
    };
  },
});

function readUrl(value: string) {
  const parsed = URL.parse(value);
  if (!parsed || !/^smtps?:$/.test(parsed.protocol) || !parsed.hostname) return undefined;
  return {
    host: parsed.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: parsed.port ? Number(parsed.port) : undefined,
    secure: parsed.protocol === 'smtps:',
    user: parsed.username ? decoded(parsed.username) : undefined,
    pass: parsed.password ? decoded(parsed.password) : undefined,
  };
}

/** Platforms keep newlines of a setting as \n. */
const pem = (key: string) => key.replaceAll('\\n', '\n');
