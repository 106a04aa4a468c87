import type { Config } from '../../base/config.ts';
import { codeOf, messageOf } from '../../base/errors.ts';
import { createFfmpeg } from '../../media/ffmpeg.ts';
import type { Capabilities } from '../../media/ffmpeg/capabilities.ts';
import { fail, ok, warn, type Check } from './check.ts';

const name = 'ffmpeg';
const install = 'apt-get install ffmpeg, or set FFMPEG_PATH and FFPROBE_PATH';

/** What video and sound are made with: only jobs of the queue media need it. */
export async function checkFfmpeg({ ffmpeg, queues }: Pick<Config, 'ffmpeg' | 'queues'>): Promise<Check> {
  const found = await createFfmpeg(ffmpeg)
    .capabilities()
    .catch((error: unknown) => error);
  return judgeFfmpeg(found, queues);
}

/** @param found Capabilities, or why there are none */
export function judgeFfmpeg(found: unknown, queues: string[] | undefined): Check {
  if (codeOf(found) === 'ffmpeg_path_wrong')
    return fail(name, messageOf(found), 'set FFMPEG_PATH and FFPROBE_PATH to programs that run, or to nothing');
  if (codeOf(found) === 'ffmpeg_missing') return judgeNone(messageOf(found), queues);
  if (found instanceof Error)
    return fail(
      name,
      `it could not be looked up: ${messageOf(found)}`,
      'give this machine memory, then run this again',
    );

  const { version, programs, sandbox, missing, toneMapping } = found as Capabilities;
  const { from } = programs.ffmpeg;
  const detail = `${version} from ${from === 'setting' ? 'FFMPEG_PATH' : from}, sandbox ${sandbox}`;
  if (missing.length > 0)
    return fail(name, `${detail}; it lacks ${missing.join(', ')}`, 'install one that has them: apt-get install ffmpeg');
  if (from === 'npm')
    return warn(name, `${detail}: years old, without the security fixes since; not used in production`, install);
  if (!toneMapping) return warn(name, `${detail}; without zscale and tonemap HDR videos come out pale`, install);
  if (sandbox === 'none')
    return warn(
      name,
      `${detail}: what may be wrong with it can reach the network and the files of this user`,
      'apt-get install bubblewrap; this user must be allowed to make namespaces, which some containers forbid',
    );
  return ok(name, detail);
}

function judgeNone(reason: string, queues: string[] | undefined): Check {
  if (queues && !queues.includes('media')) return ok(name, 'none, and none is needed: QUEUES has no media');
  const state = queues ? fail : warn;
  return state(name, `${reason}: jobs of queue media that need it will fail`, install);
}
