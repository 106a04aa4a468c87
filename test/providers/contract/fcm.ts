import { createFcm } from '../../../worker/providers/push/fcm.ts';
import { fcmError, pem, startFcm } from '../../support/fcm.ts';
import { canary, type Answer, type Row } from './row.ts';

const words = `The registration of ${canary} is not welcome`;
const answer = (status: number, name: string, code?: string, headers: Record<string, string> = {}): Answer => ({
  status,
  headers,
  body: fcmError(name, code, words),
});
const about = (status: number, code: string, details: object): Answer => ({
  status,
  body: fcmError(code, code === 'INVALID_ARGUMENT' ? code : 'QUOTA_EXCEEDED', words, [details]),
});

/** https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode */
export const fcm: Row = {
  name: 'push/fcm',
  create: createFcm,
  message: { token: `${canary}-token`, title: canary, body: canary, data: { otp: canary } },
  secrets: [pem.split('\n')[1]!, 'access-'],
  gone: { FCM_URL: 'http://127.0.0.1:1' },
  impatient: { FCM_TIMEOUT: '1000' },
  locked: answer(403, 'PERMISSION_DENIED'),
  endless: 'unknown',

  async start() {
    const server = await startFcm();
    return {
      env: server.env,
      taken: () => server.taken.map(({ android }) => android.notification['tag']!),
      fail: (fault) => server.fail(fault),
      heal: () => server.heal(),
      hanging: () => server.hanging(),
      close: () => server.close(),
    };
  },

  cases: [
    ['unregistered', answer(404, 'NOT_FOUND', 'UNREGISTERED'), 'permanent invalid_recipient'],
    ['not found', answer(404, 'NOT_FOUND'), 'permanent invalid_recipient'],
    [
      'a token that is none, by its field',
      about(400, 'INVALID_ARGUMENT', { fieldViolations: [{ field: 'message.token', description: words }] }),
      'permanent invalid_recipient',
    ],
    [
      'a token that is none, by its words',
      {
        status: 400,
        body: fcmError('INVALID_ARGUMENT', 'INVALID_ARGUMENT', 'The registration token is not a valid FCM token'),
      },
      'permanent invalid_recipient',
    ],
    ['another argument', answer(400, 'INVALID_ARGUMENT', 'INVALID_ARGUMENT'), 'permanent message_refused'],
    [
      'a field',
      about(400, 'INVALID_ARGUMENT', { fieldViolations: [{ field: 'message.data', description: words }] }),
      'permanent message_refused',
    ],
    ['another project', answer(403, 'PERMISSION_DENIED', 'SENDER_ID_MISMATCH'), 'permanent push_sender_mismatch'],
    ['APNs key', answer(401, 'UNAUTHENTICATED', 'THIRD_PARTY_AUTH_ERROR'), 'fault fcm_apns_unauthorized'],
    ['bad access token', answer(401, 'UNAUTHENTICATED'), 'fault fcm_unauthorized'],
    ['no permission', answer(403, 'PERMISSION_DENIED'), 'fault fcm_unauthorized'],
    ['quota', answer(429, 'RESOURCE_EXHAUSTED', 'QUOTA_EXCEEDED', { 'retry-after': '30' }), 'snooze 30000'],
    ['quota, and not when', answer(429, 'RESOURCE_EXHAUSTED', 'QUOTA_EXCEEDED'), 'snooze 60000'],
    [
      'quota of one device',
      about(429, 'RESOURCE_EXHAUSTED', { violations: [{ subject: 'device', description: words }] }),
      'snooze 60000',
    ],
    ['unavailable', answer(503, 'UNAVAILABLE', 'UNAVAILABLE'), 'fault fcm_unavailable'],
    ['unavailable, for so long', answer(503, 'UNAVAILABLE', 'UNAVAILABLE', { 'retry-after': '7' }), 'snooze 7000'],
    ['internal', answer(500, 'INTERNAL', 'INTERNAL'), 'retryable fcm_failed'],
    ['a proxy', { status: 502, body: '<html>Bad gateway</html>' }, 'retryable fcm_failed'],
    ['a 404 that is not of FCM', { status: 404, body: '<html>Not found</html>' }, 'fault fcm_unavailable'],
    [
      'unavailable, for an absurd time',
      answer(503, 'UNAVAILABLE', 'UNAVAILABLE', { 'retry-after': '9'.repeat(30) }),
      'snooze 3600000',
    ],
    ['a new error', answer(409, 'ABORTED'), 'retryable fcm_failed'],
    ['an answer that is none', { status: 200, body: 'yes' }, 'unknown'],
  ],
};
