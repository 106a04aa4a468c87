import { randomUUID } from 'node:crypto';
import { availableParallelism } from 'node:os';
import type { Config } from './base/config/config.ts';
import { createPool, type Db } from './base/db/db.ts';
import { within } from './base/deadline.ts';
import type { Log } from './base/log.ts';
import { createStorage } from './base/storage/create.ts';
import type { Storage } from './base/storage/storage.ts';
import { checkTempSpace } from './base/temp.ts';
import { createFfmpeg, type Ffmpeg } from './media/ffmpeg/ffmpeg.ts';
import { createMemoryGate, type MemoryGate } from './media/memory.ts';
import { createImagorVideo } from './providers/imagorvideo.ts';
import { createRaid } from './providers/raid.ts';
import type { Sender } from './providers/sender.ts';
import { channelNames, checkSenders, createSenders, type ChannelName, type Messages } from './providers/senders.ts';
import { createSocial, type Social } from './providers/social/social.ts';

/** What makes each of the other services that handlers ask, by its name as a dependency. A new one is a line here. */
export const providers = {
  raid: createRaid,
  imagorvideo: createImagorVideo,
};

/** The outside world, for handlers. Each port is made at its first use: a queue that has no use for it makes none. */
type Ports = {
  /** Where files are stored. */
  storage: Storage;
  /** For video and sound. */
  ffmpeg: Ffmpeg;
  /** The memory that all media jobs of this process share. */
  memory: MemoryGate;
  /** The platforms on which posts are published. */
  social: Social;
} & { [Name in keyof typeof providers]: ReturnType<(typeof providers)[Name]> } & {
  /** The providers that send the messages of a channel, in the order in which they are tried. */
  [Name in ChannelName]: Sender<Messages[Name]>[];
};

/** What handlers may use. Built by hand, once per process. */
export type App = Ports & {
  config: Config;
  log: Log;
  /** For handlers and upkeep. The engine has its own connections. */
  db: Db;
  /** The name of this process for the server: the fleet ends the sessions of a frozen process. */
  instance: string;
  /** What a DeploymentError may name. The check tells an incident from a job's own failure. */
  dependencies: Record<string, Dependency>;
  close(): Promise<void>;
};

async function checkFfmpeg(ffmpeg: Ffmpeg): Promise<void> {
  const { missing } = await ffmpeg.capabilities();
  if (missing.length > 0) throw new Error(`ffmpeg lacks ${missing.join(', ')}`);
}

/** sharp is loaded at first use. */
async function checkWatermark({ watermark: { path } }: Config): Promise<void> {
  if (path) await (await import('./media/video/watermark.ts')).readOwn(path);
}

function checkHashKey({ production, notification }: Config): void {
  if (production && notification.hashKeys.length === 0) throw new Error('HASH_KEY is not set');
}

type Dependency = {
  /** Whether each machine has its own, such as a disk. */
  ofHost: boolean;
  /** @throws what is wrong */
  check(signal: AbortSignal): Promise<unknown>;
};

/** @param onSender told of each sender that is made, before its first use */
export function createApp(
  config: Config,
  databaseUrl: string,
  log: Log,
  onSender: (channel: ChannelName, sender: Sender<never>) => void = () => {},
): App {
  const instance = randomUUID();
  const db = createPool(databaseUrl, { max: config.connections.app, log, instance });
  const senders: Pick<Sender<never>, 'close'>[] = [];
  const openSenders = (name: ChannelName) => {
    const made = createSenders(name, config);
    senders.push(...made);
    for (const sender of made) onSender(name, sender);
    return made;
  };
  const app: App = withPorts(
    {
      config,
      log,
      db,
      instance,
      dependencies: {
        ...eachProvider((name) => ({ ofHost: false, check: async (signal) => app[name]?.check({ signal }) })),
        ...each(channelNames, (name) => ({ ofHost: false, check: (signal) => checkSenders(app[name], signal) })),
        hash_key: { ofHost: true, check: async () => checkHashKey(config) },
        storage: { ofHost: config.storage.provider === 'local', check: (signal) => app.storage.check({ signal }) },
        ffmpeg: { ofHost: true, check: () => checkFfmpeg(app.ffmpeg) },
        temp_space: { ofHost: true, check: () => checkTempSpace(config.tempDir) },
        sharp: { ofHost: true, check: () => import('./media/image/sharp.ts') },
        watermark: { ofHost: true, check: () => checkWatermark(config) },
      },
      // A handler that ignores its signal may hold a connection: the process ends all the same.
      close: async () => {
        await within(2_000, db.end());
        for (const sender of senders) await sender.close?.();
      },
    },
    {
      ...eachProvider((name) => () => providers[name](config)),
      ...each(channelNames, (name) => () => openSenders(name)),
      storage: () => createStorage(config.storage),
      ffmpeg: () => createFfmpeg(config.ffmpeg, log),
      // sharp works on libuv's threads, four by default: one stays free for files and DNS.
      memory: () =>
        createMemoryGate({
          bytes: config.mediaMemoryBytes,
          pictureBytes: config.pictureMemoryBytes,
          slots: Math.min(availableParallelism(), 3),
        }),
      social: () => createSocial(config),
    } as Makers,
  );
  return app;
}

const each = <Name extends string, Made>(names: readonly Name[], make: (name: Name) => Made) =>
  Object.fromEntries(names.map((name) => [name, make(name)]));

const eachProvider = <Made>(make: (name: keyof typeof providers) => Made) =>
  each(Object.keys(providers) as (keyof typeof providers)[], make);

type Makers = { [Name in keyof Ports]: () => Ports[Name] };

/** Adds the ports to an app, each as a property that is made when it is first read. */
function withPorts(app: Omit<App, keyof Ports>, makers: Makers): App {
  const usual = { enumerable: true, configurable: true };
  for (const [name, make] of Object.entries(makers)) {
    const put = (value: unknown) => Object.defineProperty(app, name, { ...usual, value, writable: true });
    Object.defineProperty(app, name, { ...usual, get: () => (put(make()) as App)[name as keyof Ports], set: put });
  }
  return app as App;
}
