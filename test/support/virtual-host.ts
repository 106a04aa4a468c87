import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { promisify } from 'node:util';
import { noRabbitmq, rabbitmqUrl } from './rabbitmq.ts';

const run = promisify(execFile);
const control = (...args: string[]) => run('rabbitmqctl', ['-q', ...args]);

/** Why no test can have a virtual host of its own, or false. */
export const noVirtualHosts: string | false =
  noRabbitmq ||
  (await control('list_vhosts').then(
    () => false as const,
    () => 'rabbitmqctl does not reach the server',
  ));

/** Names at the broker that nobody else uses. */
export async function openVirtualHost(): Promise<{ url: string; close(): Promise<void> }> {
  const name = `test_${randomUUID().slice(0, 8)}`;
  const url = new URL(rabbitmqUrl);
  await control('add_vhost', name);
  await control('set_permissions', '-p', name, url.username || 'guest', '.*', '.*', '.*');
  url.pathname = `/${name}`;
  return { url: url.href, close: async () => void (await control('delete_vhost', name)) };
}
