import { constants } from 'node:fs';
import { access, chmod, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { delimiter, join, resolve } from 'node:path';
import { DeploymentError } from '../../base/errors.ts';

export type FfmpegConfig = {
  /** FFMPEG_PATH and FFPROBE_PATH. */
  ffmpeg?: string;
  ffprobe?: string;
  /** Where to search otherwise, as PATH has it. */
  searchPath: string;
  /** Whether the binaries of the npm packages may be used. They are years old, so only for development and tests. */
  bundled: boolean;
  /** Undefined: the best that works here. */
  sandbox?: Sandbox;
};

/** How ffmpeg is isolated from the network; bwrap also isolates it from files that are not its own. */
export type Sandbox = 'bwrap' | 'unshare' | 'none';

type Program = { path: string; from: 'setting' | 'PATH' | 'npm' };
export type Programs = { ffmpeg: Program; ffprobe: Program };

/**
 * The programs to run.
 * @throws DeploymentError `ffmpeg_path_wrong` if a path that was set is no program, `ffmpeg_missing` if there is none
 *   anywhere
 */
export async function findPrograms(config: FfmpegConfig): Promise<Programs> {
  return { ffmpeg: await find('ffmpeg', config), ffprobe: await find('ffprobe', config) };
}

async function find(name: 'ffmpeg' | 'ffprobe', config: FfmpegConfig): Promise<Program> {
  const set = config[name];
  if (set) {
    if (await isProgram(set)) return { path: resolve(set), from: 'setting' };
    throw wrongPath(name, `${set} is not a program that can be run`);
  }
  for (const dir of config.searchPath.split(delimiter).filter(Boolean))
    if (await isProgram(join(dir, name))) return { path: resolve(dir, name), from: 'PATH' };
  const bundled = config.bundled ? await findBundled(name) : undefined;
  if (bundled) return { path: bundled, from: 'npm' };
  const where = config.bundled ? 'in PATH, nor as an npm package' : 'in PATH';
  throw new DeploymentError(
    'ffmpeg',
    'ffmpeg_missing',
    `There is no ${name} ${where}: install ffmpeg, or set ${name.toUpperCase()}_PATH`,
  );
}

/** @param fault of the path in FFMPEG_PATH or FFPROBE_PATH */
export function wrongPath(name: keyof Programs, fault: string): DeploymentError {
  return new DeploymentError('ffmpeg', 'ffmpeg_path_wrong', `${name.toUpperCase()}_PATH: ${fault}`);
}

async function findBundled(name: string): Promise<string | undefined> {
  try {
    const { path } = createRequire(import.meta.url)(`@${name}-installer/${name}`) as { path: string };
    // npm unpacks it executable for its owner only.
    if (!(await isProgram(path))) await chmod(path, 0o755);
    return path;
  } catch {
    return undefined;
  }
}

async function isProgram(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}
