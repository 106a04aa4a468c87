import type { ChannelModel } from 'amqplib';
import { version } from '../../queue/fleet/version.ts';

export type Connection = ChannelModel;

const heartbeatS = 10;
const timeoutMs = 10_000;

/** amqplib is loaded here, at first use. Its own recovery is not used: it does not see that a channel was closed. */
export async function connectTo(url: string, signal: AbortSignal): Promise<Connection> {
  const { default: amqplib } = await import('amqplib');
  const address = new URL(url);
  if (!address.searchParams.has('heartbeat')) address.searchParams.set('heartbeat', String(heartbeatS));
  const clientProperties = { connection_name: `rowmill ${version}` };
  const connecting = amqplib.connect(address.href, { timeout: timeoutMs, noDelay: true, clientProperties });
  const aborted = Promise.withResolvers<never>();
  const abort = () => aborted.reject(signal.reason);
  signal.addEventListener('abort', abort);
  try {
    return await Promise.race([connecting, aborted.promise]);
  } catch (error) {
    connecting.then((late) => late.close()).catch(() => {});
    throw error;
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
