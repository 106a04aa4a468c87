import { job, minutes } from '../../queue/job.ts';
import { deliver } from './delivery/deliver.ts';
import { phoneChannel, phonePayload, phoneSensitive } from './phone/phone.ts';

const channel = phoneChannel('sms');

/** Sends an SMS. A repeat of a job that already sent is a no-op. */
export default job({
  name: 'notification.sms',
  payload: phonePayload('sms'),
  sensitive: phoneSensitive,
  timeout: minutes(2),
  run: (context) => deliver(context, channel),
});
