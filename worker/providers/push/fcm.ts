import { readFile } from 'node:fs/promises';
import type { Credential } from 'firebase-admin/app';
import type { BatchResponse, Messaging } from 'firebase-admin/messaging';
import type { Config } from '../../base/config/config.ts';
import { isJson, parseAccount, type FcmConfig, type ServiceAccount } from '../../base/config/push.ts';
import { codeOf, DeploymentError, messageOf, UnknownOutcome } from '../../base/errors.ts';
import { receiptOf, type Receipt, type Sender } from '../sender.ts';
import { judgeFcm } from './fcm-errors.ts';
import { Lines } from './fcm-lines.ts';
import { fetchToken, type AccessToken } from './fcm-token.ts';
import { fcmMessageOf, type PushMessage } from './push.ts';

/** After a call was stopped, for the messages that have their answer. */
const graceMs = 500;

/** Pushes over Firebase Cloud Messaging. @returns undefined if no service account is configured */
export function createFcm({ push }: Pick<Config, 'push'>): Sender<PushMessage> | undefined {
  const { fcm, androidChannel } = push;
  if (!fcm) return undefined;
  const bucket = { key: 'fcm', perSecond: fcm.perSecond };
  const project = openProject(fcm);

  const sendMany: NonNullable<Sender<PushMessage>['sendMany']> = async (messages, { signal }) => {
    const composed = messages.map(({ message, key }) => fcmMessageOf(message, androidChannel, key));
    const answers = await project.call(signal, (messaging) => messaging.sendEach(composed));
    return answers.map((answer, n) =>
      answer instanceof Error ? answer : receiptOf(answer.provider_message_id, messages[n]!.message.token),
    );
  };
  return {
    name: 'fcm',
    address: fcm.url ?? 'fcm.googleapis.com',
    repeatable: true,
    rate: () => bucket,
    async send(message, { key, signal }) {
      const [answer] = await sendMany([{ message, key }], { signal });
      if (answer instanceof Error) throw answer;
      return answer!;
    },
    sendMany,
    /** A message that FCM checks and does not send. */
    async check({ signal }) {
      const [answer] = await project.call(signal, (messaging) =>
        messaging.sendEach([{ topic: 'rowmill-doctor' }], true),
      );
      if (answer instanceof Error) throw answer;
    },
    close: () => project.close(),
  };
}

/** `projects/my-project/messages/0:1500415314455276%31bd1c9631bd1c96` */
const named = (name: string | undefined): Receipt => (name ? { provider_message_id: name } : {});

/** A Firebase project, with its access token and the lines to it. */
function openProject(config: FcmConfig) {
  let lines: Promise<Lines> | undefined;
  let token: (AccessToken & { until: number }) | undefined;
  let account: ServiceAccount | undefined;
  // The SDK asks it for the token that `call` has fetched.
  const credential: Credential = {
    getAccessToken: async () => ({
      access_token: token!.access_token,
      expires_in: Math.max(1, (token!.until - Date.now()) / 1_000),
    }),
  };

  async function renewToken(signal: AbortSignal): Promise<void> {
    account ??= await readAccount(config.account);
    if (token && token.until - Date.now() > 300_000) return;
    const fetched = await fetchToken(account, signal);
    token = { ...fetched, until: Date.now() + fetched.expires_in * 1_000 };
  }

  return {
    /** One call of the SDK, which ends when the signal aborts or the time is over. */
    async call(
      signal: AbortSignal,
      work: (messaging: Messaging) => Promise<BatchResponse>,
    ): Promise<(Receipt | Error)[]> {
      signal.throwIfAborted();
      await renewToken(signal);
      lines ??= Lines.open(config.url, account!.projectId, credential);
      const all = await lines;
      signal.throwIfAborted();
      const line = all.take();
      const stuck = Promise.withResolvers<never>();
      let grace: NodeJS.Timeout | undefined;
      const stop = () => {
        line.stop();
        // The SDK never answers for a message whose connection was lost within the answer.
        grace ??= setTimeout(() => stuck.reject(new UnknownOutcome('FCM began to answer, and did not end')), graceMs);
      };
      const limit = setTimeout(stop, config.timeoutMs);
      signal.addEventListener('abort', stop, { once: true });
      try {
        const { responses } = await Promise.race([work(line.messaging), stuck.promise]);
        const answers = responses.map(({ messageId, error }) => (error ? judgeFcm(error) : named(messageId)));
        // The token is refused though it is not old. The SDK of the line has kept it.
        if (answers.some((answer) => codeOf(answer) === 'fcm_unauthorized')) {
          if (token) token.until = 0;
          line.stop();
        }
        return answers;
      } finally {
        clearTimeout(limit);
        clearTimeout(grace);
        signal.removeEventListener('abort', stop);
        await all.give(line);
      }
    },
    close: async () => (await lines)?.close(),
  };
}

/** @throws DeploymentError `fcm_account_unusable` */
async function readAccount(given: string): Promise<ServiceAccount> {
  try {
    return parseAccount(isJson(given) ? given : await readFile(given, 'utf8'));
  } catch (error) {
    const words = `FIREBASE_SERVICE_ACCOUNT: ${messageOf(error)}`;
    throw new DeploymentError('push', 'fcm_account_unusable', words, { cause: error });
  }
}
