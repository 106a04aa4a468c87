import { lstat, statfs, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Config } from '../../base/config/config.ts';
import { codeOf, messageOf } from '../../base/errors.ts';
import { memoryHere } from '../../base/machine.ts';
import { withTempDir } from '../../base/temp.ts';
import { doubtMemory, doubtWatermark } from '../../doubts.ts';
import { size } from '../output.ts';
import { fail, ok, warn, type Check } from './check.ts';

/** This machine: the runtime, its native parts, its disk. */

export function checkNode(version = process.versions.node): Check {
  if (Number.parseInt(version) >= 24) return ok('Node', version);
  return fail(
    'Node',
    `${version} is too old`,
    'install Node 24, or run npm ci, which installs one (not with --omit=dev, nor with NODE_ENV=production)',
  );
}

/** Only loads it: the installed binary may be for another system. */
export async function checkPictures(): Promise<Check> {
  try {
    await import('../../media/image/variants.ts');
    return ok('pictures', 'sharp loads');
  } catch (error) {
    const [first] = messageOf((error as Error).cause).split('\n');
    return fail('pictures', `sharp does not load: ${first}`, 'run npm ci on this machine, with optional dependencies');
  }
}

/** For originals of publish jobs, which are pictures. */
const littleBytes = 1e9;

export async function checkTemp({
  tempDir,
  mediaMaxBytes,
  queues,
}: Pick<Config, 'tempDir' | 'mediaMaxBytes' | 'queues'>): Promise<Check> {
  const name = 'temp dir';
  try {
    const place = await existing(tempDir);
    await withTempDir(place, (dir) => writeFile(join(dir, 'probe'), 'x'));
    const { bavail, bsize } = await statfs(place);
    const missing = place === tempDir ? '' : ', not there yet: the first job makes it';
    const free = `${tempDir}${missing}, ${size(bavail * bsize)} free`;
    const media = !queues || queues.includes('media');
    const needed = media ? Math.max(mediaMaxBytes, littleBytes) : littleBytes;
    if (bavail * bsize >= needed) return ok(name, free);
    const most = media ? `, of up to ${size(needed)} (MEDIA_MAX_MB),` : '';
    return warn(
      name,
      `${free}: a job whose original${most} does not fit there ends as disk_full`,
      'make room, or set TEMP_DIR to where there is some',
    );
  } catch (error) {
    return fail(name, messageOf(error), 'set TEMP_DIR to a directory that can be written to');
  }
}

/** Compares the memory for media jobs with the memory of the machine. */
export function checkMemory(config: Pick<Config, 'mediaMemoryBytes'>, here = memoryHere()): Check {
  const doubt = doubtMemory(config, here);
  if (doubt) return warn('memory', doubt.what, doubt.fix);
  return ok('memory', `${size(config.mediaMemoryBytes)} for media jobs, of ${size(here.bytes)}`);
}

export async function checkWatermark(config: Pick<Config, 'watermark'>): Promise<Check> {
  const doubt = await doubtWatermark(config);
  if (doubt) return fail('watermark', doubt.what, doubt.fix);
  return ok('watermark', `${config.watermark.path} can be read`);
}

/** Loads them: each file must be a kind. */
export async function checkKinds(dir: string): Promise<Check> {
  try {
    const { loadRegistry } = await import('../../queue/registry.ts');
    const [all, box] = await Promise.all([loadRegistry(dir), loadRegistry()]);
    return ok('own kinds', `${all.size - box.size} in ${dir}`);
  } catch (error) {
    return fail('own kinds', messageOf(error), 'correct the file, or JOBS_DIR');
  }
}

/** The folder itself, or the nearest existing one above it: a check must not create it. */
export async function existing(dir: string): Promise<string> {
  try {
    await lstat(dir);
    return dir;
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
    return existing(dirname(dir));
  }
}
