import { job, minutes } from '../../queue/job.ts';
import { deliver } from './delivery/deliver.ts';
import { phoneChannel, phonePayload, phoneSensitive } from './phone/phone.ts';

const channel = phoneChannel('whatsapp');

/** Sends a WhatsApp message. A repeat of a job that already sent is a no-op. */
export default job({
  name: 'notification.whatsapp',
  payload: phonePayload('whatsapp'),
  sensitive: phoneSensitive,
  timeout: minutes(2),
  run: (context) => deliver(context, channel),
});
