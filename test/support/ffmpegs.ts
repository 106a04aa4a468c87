import { findPrograms, type FfmpegConfig, type Programs } from '../../worker/media/ffmpeg/find.ts';

export type Installed = { name: string; config: FfmpegConfig; programs: Programs };

const { PATH = '', FFMPEG_PATH, FFPROBE_PATH } = process.env;
const own = FFMPEG_PATH && FFPROBE_PATH ? { ffmpeg: FFMPEG_PATH, ffprobe: FFPROBE_PATH } : {};

/**
 * Each ffmpeg that there is here: that of FFMPEG_PATH, else the PATH's, and that of the npm packages. What we write
 * works with both.
 */
export const ffmpegs: Installed[] = (
  await Promise.all([
    installed(`the ffmpeg of ${FFMPEG_PATH ? 'FFMPEG_PATH' : 'PATH'}`, { ...own, searchPath: PATH, bundled: false }),
    installed('the ffmpeg of npm', { searchPath: '', bundled: true }),
  ])
).flat();

async function installed(name: string, config: FfmpegConfig): Promise<Installed[]> {
  return findPrograms(config).then(
    (programs) => [{ name, config, programs }],
    () => [],
  );
}
