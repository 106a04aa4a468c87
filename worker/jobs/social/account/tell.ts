import type { Config } from '../../../base/config/config.ts';
import type { Tx } from '../../../base/db/db.ts';
import { addJobs } from '../../../queue/client/add.ts';

type Account = { id: number; platform: string; name: string | null; external_id: string; status_reason: string | null };

/** Adds a notification to whom SOCIAL_TELL names, in the transaction that writes down that the account waits. */
export async function tellToReconnect(tx: Tx, { social }: Pick<Config, 'social'>, account: Account): Promise<void> {
  const { id, platform, name, external_id, status_reason } = account;
  if (social.tell === undefined) return;
  const title = `The ${platform} account ${name ?? external_id} must be connected again`;
  const todo = `To connect it again: rowmill account connect ${platform} --account ${id}`;
  const body = `${status_reason}\n\nIts posts wait. ${todo}`;
  const isAddress = social.tell.includes('@') && !social.tell.startsWith('@');
  await addJobs(tx, [
    isAddress
      ? { queue: 'notification', kind: 'email', payload: { email: social.tell, title, body } }
      : { queue: 'notification', kind: 'slack', payload: { slack: social.tell, title, body } },
  ]);
}
