import type { Config } from '../../base/config/config.ts';
import { codeOf, messageOf } from '../../base/errors.ts';
import { createFfmpeg } from '../../media/ffmpeg/ffmpeg.ts';
import { isOld, leastVersion } from '../../media/ffmpeg/age.ts';
import type { Capabilities } from '../../media/ffmpeg/capabilities.ts';
import { fail, ok, warn, type Check } from './check.ts';

const name = 'ffmpeg';
const install = 'apt-get install ffmpeg, or set FFMPEG_PATH and FFPROBE_PATH';

/** ffmpeg makes video and sound: only jobs of the queue media need it. */
export async function checkFfmpeg({ ffmpeg, queues }: Pick<Config, 'ffmpeg' | 'queues'>): Promise<Check> {
  const found = await createFfmpeg(ffmpeg)
    .capabilities()
    .catch((error: unknown) => error);
  return judgeFfmpeg(found, queues);
}

/** @param found Capabilities, or the error why there are none */
export function judgeFfmpeg(found: unknown, queues: string[] | undefined): Check {
  if (codeOf(found) === 'ffmpeg_path_wrong')
    return fail(name, messageOf(found), 'set FFMPEG_PATH and FFPROBE_PATH to programs that run, or to nothing');
  if (codeOf(found) === 'ffmpeg_missing') return judgeNone(messageOf(found), queues);
  if (found instanceof Error)
    return fail(name, `it could not be examined: ${messageOf(found)}`, 'give this machine memory, then run this again');

  const { version, programs, sandbox, missing } = found as Capabilities;
  const { from } = programs.ffmpeg;
  const detail = `${version} from ${from === 'setting' ? 'FFMPEG_PATH' : from}, sandbox ${sandbox}`;
  if (missing.length > 0)
    return fail(name, `${detail}; it lacks ${missing.join(', ')}`, 'install one that has them: apt-get install ffmpeg');
  if (from === 'npm')
    return warn(name, `${detail}: years old, without the security fixes since; not used in production`, install);
  const risks = risksOf(found as Capabilities);
  if (risks.length === 0) return ok(name, detail);
  return warn(name, `${detail}: ${risks.map(({ risk }) => risk).join('; ')}`, risks.map(({ fix }) => fix).join('; '));
}

function risksOf(capabilities: Capabilities): { risk: string; fix: string }[] {
  const { toneMapping, sandbox } = capabilities;
  return [
    isOld(capabilities) && {
      risk:
        `before ffmpeg ${leastVersion}, sound of old phones (AMR), 24-bit PCM in MP4 and xHE-AAC ` +
        'is lost or becomes noise: such jobs fail as ffmpeg_too_old or unsupported_codec',
      fix: `Debian 13 has a newer one, or set FFMPEG_PATH and FFPROBE_PATH to ffmpeg ${leastVersion} or newer`,
    },
    !toneMapping && { risk: 'without zscale and tonemap HDR videos come out pale', fix: install },
    sandbox === 'none' && {
      risk: 'an attack on ffmpeg can reach the network and the files of this user',
      fix: 'apt-get install bubblewrap; this user must be allowed to make namespaces, which some containers forbid',
    },
  ].filter((risk) => risk !== false);
}

function judgeNone(reason: string, queues: string[] | undefined): Check {
  if (queues && !queues.includes('media')) return ok(name, 'none, and none is needed: QUEUES has no media');
  const state = queues ? fail : warn;
  return state(name, `${reason}: jobs of queue media that need it will fail`, install);
}
