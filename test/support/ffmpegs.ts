import { findPrograms, type FfmpegConfig, type Programs } from '../../worker/media/ffmpeg/find.ts';
import { everything } from './everything.ts';

export type Installed = { name: string; config: FfmpegConfig; programs: Programs };

const { PATH = '', FFMPEG_PATH, FFPROBE_PATH } = process.env;
const own = FFMPEG_PATH && FFPROBE_PATH ? { ffmpeg: FFMPEG_PATH, ffprobe: FFPROBE_PATH } : {};

const found = (
  await Promise.all([
    installed(`the ffmpeg of ${FFMPEG_PATH ? 'FFMPEG_PATH' : 'PATH'}`, { ...own, searchPath: PATH, bundled: false }),
    installed('the ffmpeg of npm', { searchPath: '', bundled: true }),
  ])
).flat();

/**
 * The ffmpeg of FFMPEG_PATH, else the PATH's, else that of the npm packages; with TEST_ALL each that there is. What we
 * write works with all.
 */
export const ffmpegs: Installed[] = everything ? found : found.slice(0, 1);

async function installed(name: string, config: FfmpegConfig): Promise<Installed[]> {
  return findPrograms(config).then(
    (programs) => [{ name, config, programs }],
    () => [],
  );
}
