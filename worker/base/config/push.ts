import { messageOf } from '../errors.ts';
import { group } from './group.ts';
import { integer, list, secret, text, url } from './values.ts';

/** Firebase Cloud Messaging. */
export type FcmConfig = {
  /** The key of a service account: its JSON, or the path of its file. */
  account: string;
  /** A server that speaks FCM, in place of Google's. */
  url: string | undefined;
  /** Messages a second over the whole fleet. */
  perSecond: number;
  /** For one call, which sends up to 500 messages. */
  timeoutMs: number;
};

export type ServiceAccount = { projectId: string; clientEmail: string; privateKey: string; tokenUri: string };

/** Push notifications, and the Firebase project that sends them. */
export const push = group({
  settings: {
    PUSH_PROVIDERS: list.optional(),
    PUSH_ANDROID_CHANNEL: text.max(200).optional(),
    FIREBASE_SERVICE_ACCOUNT: secret,
    FCM_URL: url.optional(),
    FCM_RATE: integer(1, 100_000).optional(),
    FCM_TIMEOUT: integer(100, 600_000).optional(),
  },
  faults({ FIREBASE_SERVICE_ACCOUNT: given = '' }) {
    if (!isJson(given) || isEmpty(given)) return [];
    try {
      parseAccount(given);
      return [];
    } catch (error) {
      return [`FIREBASE_SERVICE_ACCOUNT: ${messageOf(error)}`];
    }
  },
  read({ FIREBASE_SERVICE_ACCOUNT: account = '', ...env }) {
    const fcm: FcmConfig | undefined =
      account && !isEmpty(account)
        ? { account, url: env.FCM_URL, perSecond: env.FCM_RATE ?? 500, timeoutMs: env.FCM_TIMEOUT ?? 30_000 }
        : undefined;
    return {
      push: {
        /** In the order in which they are tried. Undefined: all that are configured. */
        providers: env.PUSH_PROVIDERS,
        /** Of Android, for messages that name none. */
        androidChannel: env.PUSH_ANDROID_CHANNEL,
        fcm,
      },
    };
  },
});

/** Whether FIREBASE_SERVICE_ACCOUNT is the key itself, and not a path. */
export const isJson = (account: string) => account.trimStart().startsWith('{');

/** As `FIREBASE_SERVICE_ACCOUNT={}` in a template of an environment. */
const isEmpty = (account: string) => /^\s*\{\s*\}\s*$/.test(account);

/** @throws an Error without a word of the key */
export function parseAccount(json: string): ServiceAccount {
  let key: Record<string, unknown>;
  try {
    key = JSON.parse(json) as Record<string, unknown>;
  } catch {
    throw new Error('is no JSON: it must be the key of a service account, as Firebase gives it, on one line');
  }
  const field = (name: string): string => {
    const value = key[name];
    if (typeof value !== 'string' || value === '') throw new Error(`has no ${name}: it must be a whole key`);
    return value;
  };
  return {
    projectId: field('project_id'),
    clientEmail: field('client_email'),
    // Platforms keep newlines of a setting as \n.
    privateKey: field('private_key').replaceAll('\\n', '\n'),
    tokenUri: typeof key['token_uri'] === 'string' ? key['token_uri'] : 'https://oauth2.googleapis.com/token',
  };
}
