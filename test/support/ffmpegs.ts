import { findPrograms, type FfmpegConfig, type Programs } from '../../worker/media/ffmpeg/find.ts';

export type Installed = { name: string; config: FfmpegConfig; programs: Programs };

/** Each ffmpeg that there is here: the PATH's, and that of the npm packages. What we write works with both. */
export const ffmpegs: Installed[] = (
  await Promise.all([
    installed('the ffmpeg of PATH', { searchPath: process.env['PATH'] ?? '', bundled: false }),
    installed('the ffmpeg of npm', { searchPath: '', bundled: true }),
  ])
).flat();

async function installed(name: string, config: FfmpegConfig): Promise<Installed[]> {
  return findPrograms(config).then(
    (programs) => [{ name, config, programs }],
    () => [],
  );
}
