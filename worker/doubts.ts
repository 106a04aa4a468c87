import type { Config } from './base/config/config.ts';
import { messageOf } from './base/errors.ts';
import { memoryHere } from './base/machine.ts';
import { checkTempSpace } from './base/temp.ts';

/**
 * A wrong setting with which the process starts nonetheless: its jobs will wait for an incident to end, or the process
 * may be killed.
 */
export type Doubt = { setting: string; what: string; fix: string };

/** Logged at the start, before jobs fail. */
export async function doubtsOf(config: Config): Promise<Doubt[]> {
  const { queues = ['media'] } = config;
  if (!queues.includes('media') && !queues.includes('publish')) return [];
  const found = [await doubtTemp(config), await doubtWatermark(config), doubtMemory(config)];
  return found.filter((doubt) => doubt !== undefined);
}

async function doubtTemp({ tempDir }: Config): Promise<Doubt | undefined> {
  const fix = 'set TEMP_DIR to a folder where this user may write, with room for originals';
  return checkTempSpace(tempDir).then(
    () => undefined,
    (error: unknown) => ({ setting: 'TEMP_DIR', what: messageOf(error), fix }),
  );
}

export async function doubtWatermark({ watermark }: Pick<Config, 'watermark'>): Promise<Doubt | undefined> {
  const fix = 'set WATERMARK_PATH to a picture that this user can read, or to nothing';
  if (!watermark.path) return undefined;
  const { readOwn } = await import('./media/video/watermark.ts');
  return readOwn(watermark.path).then(
    () => undefined,
    (error: unknown) => ({ setting: 'WATERMARK_PATH', what: messageOf(error), fix }),
  );
}

/** What a worker needs beside the media jobs. */
const ownBytes = 200e6;

/** @param here the memory of this process and its children */
export function doubtMemory(
  { mediaMemoryBytes }: Pick<Config, 'mediaMemoryBytes'>,
  here = memoryHere(),
): Doubt | undefined {
  if (mediaMemoryBytes + ownBytes <= here.bytes) return undefined;
  const [budget, all, own] = [mediaMemoryBytes, here.bytes, ownBytes].map((bytes) => Math.floor(bytes / 1e6));
  const where = here.ofContainer ? 'this container' : 'this machine';
  const most = Math.floor((here.bytes - ownBytes) / 1e6);
  return {
    setting: 'MEDIA_MEMORY_MB',
    what:
      `media jobs may use ${budget} MB (MEDIA_MEMORY_MB), the worker itself needs ${own} MB, ` +
      `and ${where} has ${all} MB: the worker may be killed`,
    fix: most >= 128 ? `set MEDIA_MEMORY_MB to ${most} or less, or give ${where} more` : `give ${where} 512 MB or more`,
  };
}
