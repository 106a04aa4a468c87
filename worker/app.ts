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
import { createImagorVideo, type ImagorVideo } from './providers/imagorvideo.ts';
import { createRaid, type Raid } from './providers/raid.ts';

/** What handlers may use. Built by hand, once per process. */
export type App = {
  config: Config;
  log: Log;
  /** For handlers and upkeep. The engine has its own connections. */
  db: Db;
  /** The name of this process for the server: the fleet ends the sessions of a frozen process. */
  instance: string;
  /** Where files are stored. */
  storage: Storage;
  /** Where originals of auction files come from. */
  raid: Raid;
  /** Takes frames of videos, if it is configured. */
  imagorVideo: ImagorVideo | undefined;
  /** For video and sound. */
  ffmpeg: Ffmpeg;
  /** The memory that all media jobs of this process share. */
  memory: MemoryGate;
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

type Dependency = {
  /** Whether each machine has its own, such as a disk. */
  ofHost: boolean;
  /** @throws what is wrong */
  check(signal: AbortSignal): Promise<unknown>;
};

export function createApp(config: Config, databaseUrl: string, log: Log): App {
  const instance = randomUUID();
  const db = createPool(databaseUrl, { max: config.connections.app, log, instance });
  const storage = createStorage(config.storage);
  const raid = createRaid(config.raid);
  const ffmpeg = createFfmpeg(config.ffmpeg, log);
  const imagorVideo = config.imagorVideoUrl ? createImagorVideo(config.imagorVideoUrl) : undefined;
  return {
    config,
    log,
    db,
    instance,
    storage,
    raid,
    imagorVideo,
    ffmpeg,
    // sharp works on libuv's threads, four by default: one stays free for files and DNS.
    memory: createMemoryGate({
      bytes: config.mediaMemoryBytes,
      pictureBytes: config.pictureMemoryBytes,
      slots: Math.min(availableParallelism(), 3),
    }),
    dependencies: {
      storage: { ofHost: config.storage.provider === 'local', check: (signal) => storage.check({ signal }) },
      raid: { ofHost: false, check: (signal) => raid.check(config.tempDir, { signal }) },
      ffmpeg: { ofHost: true, check: () => checkFfmpeg(ffmpeg) },
      temp_space: { ofHost: true, check: () => checkTempSpace(config.tempDir) },
      imagorvideo: { ofHost: false, check: async (signal) => imagorVideo?.check(config.tempDir, { signal }) },
      sharp: { ofHost: true, check: () => import('./media/image/sharp.ts') },
      watermark: { ofHost: true, check: () => checkWatermark(config) },
    },
    // A handler that ignores its signal may hold a connection: the process ends all the same.
    close: () => within(2_000, db.end()),
  };
}
