import https from 'node:https';
import net from 'node:net';
import type { Duplex } from 'node:stream';
import tls from 'node:tls';
import type { App, Credential } from 'firebase-admin/app';
import type { Messaging } from 'firebase-admin/messaging';
import { notSent } from './fcm-errors.ts';

/** An SDK with connections of its own, which serves one call at a time. */
export type Line = {
  messaging: Messaging;
  /** Ends the call at once: its connections are closed, and messages that had none yet are not sent. */
  stop(): void;
};

/** FCM sends each message by a request of its own. So many of them at once. */
const connections = 100;

/**
 * The SDK's calls can neither be stopped nor be given a time limit. So each call gets a line, which can be cut.
 *
 * The lines speak HTTP/1.1, which the SDK calls legacy. With HTTP/2 it opens a session for each call and ignores the
 * agent, and a GOAWAY fails all messages of the call: https://github.com/firebase/firebase-admin-node/issues/2943
 */
export class Lines {
  readonly #free: OpenLine[] = [];
  readonly #apps = new Set<App>();
  readonly #make: () => OpenLine;
  readonly #deleteApp: (app: App) => Promise<void>;

  private constructor(make: (apps: Set<App>) => OpenLine, deleteApp: (app: App) => Promise<void>) {
    this.#make = () => make(this.#apps);
    this.#deleteApp = deleteApp;
  }

  /** Loads the SDK, which takes a second or more. */
  static async open(url: string | undefined, projectId: string, credential: Credential): Promise<Lines> {
    const { deleteApp, initializeApp } = await import('firebase-admin/app');
    const { getMessaging } = await import('firebase-admin/messaging');
    return new Lines((apps) => {
      const agent = new CutAgent(url);
      const app = initializeApp({ projectId, credential, httpAgent: agent }, `rowmill-${++opened}`);
      apps.add(app);
      const messaging = getMessaging(app);
      messaging.enableLegacyHttpTransport();
      withoutRetries(messaging);
      return { app, agent, messaging, stop: () => agent.cut() };
    }, deleteApp);
  }

  take(): Line {
    return this.#free.pop() ?? this.#make();
  }

  async give(line: Line): Promise<void> {
    const { app, agent } = line as OpenLine;
    if (!agent.isCut) return void this.#free.push(line as OpenLine);
    this.#apps.delete(app);
    await this.#deleteApp(app);
  }

  async close(): Promise<void> {
    for (const { agent } of this.#free) agent.destroy();
    await Promise.all([...this.#apps].map((app) => this.#deleteApp(app)));
  }
}

type OpenLine = Line & { app: App; agent: CutAgent };

let opened = 0;

/**
 * The SDK repeats requests for up to five minutes, and waits for a Retry-After within the call. No option turns that
 * off; test/providers/fcm.test.ts fails if this does not.
 */
function withoutRetries(messaging: Messaging): void {
  type Inside = { messagingRequestHandler?: { httpClient?: { retry?: unknown } } };
  const { httpClient } = (messaging as unknown as Inside).messagingRequestHandler ?? {};
  if (httpClient) delete httpClient.retry;
}

/** Keeps connections, may lead to another server than the SDK asks for, and can be cut. */
class CutAgent extends https.Agent {
  readonly #url: URL | undefined;
  isCut = false;

  constructor(url: string | undefined) {
    super({ keepAlive: true, maxSockets: connections });
    this.#url = url === undefined ? undefined : new URL(url);
  }

  override createConnection(
    options: tls.ConnectionOptions & { host?: string },
    done: (error: Error | null, socket: Duplex) => void,
  ): Duplex | null | undefined {
    if (this.isCut) {
      done(Object.assign(new Error('the call has ended'), { code: notSent }), undefined as unknown as Duplex);
      return undefined;
    }
    if (!this.#url) return super.createConnection(options, done);
    const { protocol, hostname: host, port } = this.#url;
    if (protocol === 'http:') return net.connect({ host, port: Number(port || 80) });
    return tls.connect({ host, port: Number(port || 443), servername: host });
  }

  cut(): void {
    this.isCut = true;
    this.destroy();
  }
}
