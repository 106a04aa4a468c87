import { codeOf, PermanentError } from '../../base/errors.ts';
import { areMany, damageOf, endsEarly, type Damage } from './damage.ts';
import { endOfMatroska, findCut, isEncrypted, isMuch, type Cut } from './ending.ts';
import type { Ffmpeg } from './ffmpeg.ts';
import { lostShare } from './holes.ts';
import { isOld, tooOld } from './age.ts';
import type { AudioStream, Probe } from './probe.ts';
import { sniffMedia } from './sniff.ts';
import { noneOf, type VideoSource } from './source.ts';

/**
 * Judges a file whose numbers and contents disagree. A number in a header is a hint. What decodes counts, and the sizes
 * of the container's parts, which distinguish a file that is cut off from one with a wrong header.
 */

/** What to do with a file that is cut off and has lost some of its contents. MEDIA_TRUNCATED */
export type TruncatedPolicy = 'refuse' | 'deliver';

/** A video or sound file that was examined. */
export type Media = {
  path: string;
  /** The extension that it should have. */
  format: string;
  probe: Probe;
  cut: Cut | undefined;
};

type Means = { ffmpeg: Ffmpeg; dir: string; signal: AbortSignal };

/**
 * @param kind what is to be made of it
 * @throws PermanentError `not_media`, `media_truncated`, `media_corrupt`, `unsupported_codec`, `media_encrypted`,
 *   `no_video_stream`, `no_audio_stream`; what Ffmpeg throws
 */
export async function openMedia(path: string, kind: Kind, { ffmpeg, dir, signal }: Means): Promise<Media> {
  const format = await sniffMedia(path);
  // ffmpeg takes an encrypted file for a damaged one, or for one that needs more memory than there is.
  if (await isEncrypted(path))
    throw new PermanentError(
      'media_encrypted',
      'The file is encrypted (Common Encryption, FairPlay): send it without DRM',
    );
  const cut = await findCut(path);
  const probe = await ffmpeg.probe(path, { dir, signal }).catch(async (error: unknown) => {
    if (!blamesFile(error)) throw error;
    // ffprobe fails for a recording that ended before it began.
    if (matroska.has(format) && (await endOfMatroska(path)) === 'empty') throw noneOf(kind);
    throw cut ? truncated(cut) : error;
  });
  return { path, format, probe, cut };
}

type Kind = 'video' | 'audio';
const matroska = new Set(['mkv', 'webm', 'mka']);

const blamesFile = (error: unknown) => ['not_media', 'media_corrupt'].includes(codeOf(error) ?? '');

/**
 * Decodes or copies a file. If that fails, the error says why: the file is cut off, or is empty.
 * @throws PermanentError `media_truncated`, `no_video_stream`, `no_audio_stream`; what `work` throws
 */
export async function decoding<T>(media: Media, stream: Stream, work: Promise<T>, means: Means): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!blamesFile(error)) throw error;
    if (media.cut) throw truncated(media.cut);
    if ((await packetsOf(media, stream, means)).count === 0) throw noneOf(stream.kind, media.probe);
    throw error;
  }
}

/** `needed`: without it there is nothing to deliver. */
type Stream = { kind: Kind; index: number; needed?: boolean };

const packetsOf = ({ path }: Media, { index }: Stream, { ffmpeg, dir, signal }: Means) =>
  ffmpeg.packets(path, { index, dir, signal });

/**
 * Judges a video by what was made of it.
 * @param found the seconds of what was made
 * @returns whether it is cut off, and the rest of it is delivered
 * @throws as judgeEnd and checkDecoded do
 */
export async function judgeVideo(
  media: Media,
  { video, audio, ownSeconds }: VideoSource,
  stderr: string,
  found: { picture: number; sound: number },
  means: Means & { settings: { truncated: TruncatedPolicy } },
): Promise<boolean> {
  const streams = [
    { kind: 'video' as const, index: video.index, said: video.duration, found: found.picture, needed: true },
    ...(audio ? [{ kind: 'audio' as const, index: audio.index, said: audio.duration, found: found.sound }] : []),
  ];
  const whole = { said: ownSeconds, found: Math.max(found.picture, found.sound) };
  const isCut = await judgeEnd(media, stderr, [...streams, whole], means.settings.truncated);
  for (const stream of streams) await checkDecoded(media, stream, means);
  return isCut;
}

/** One stream: the seconds that its file claims, and those that were found. */
export type Length = { said: number | undefined; found: number };

/**
 * Judges a file by ffmpeg's messages while it was decoded, and by what was made of it.
 * @returns whether it is cut off, and the rest of it is delivered
 * @throws PermanentError `media_truncated`, `media_corrupt`
 */
export async function judgeEnd(
  media: Media,
  stderr: string,
  lengths: Length[],
  policy: TruncatedPolicy,
): Promise<boolean> {
  const { faults, broken } = damageOf(stderr);
  const short = lengths.find(({ said, found }) => endsEarly(said, found));
  const cut = media.cut ?? (await cutBy(broken, media, short));
  const isLost = short !== undefined || (cut?.missing !== undefined && isMuch(cut.missing));
  const seconds = Math.max(...lengths.map(({ found }) => found));
  if (cut && ((isLost && policy === 'refuse') || seconds === 0)) throw truncated(cut, short);
  const lost = await lostShare(media.path, media.probe.format);
  const isHoled = endsEarly(seconds, seconds * (1 - lost));
  if (isHoled && policy === 'deliver') return true;
  if (isHoled)
    throw new PermanentError('media_corrupt', `The file is damaged: ${Math.round(lost * 100)} % of it is overwritten`);
  if (areMany(faults, seconds))
    throw new PermanentError('media_corrupt', `The file is damaged: ${faults} parts of it cannot be decoded`);
  return cut !== undefined;
}

async function cutBy(
  broken: Damage['broken'],
  { path, probe: { format } }: Media,
  short: Length | undefined,
): Promise<Cut | undefined> {
  const isMatroska = format.startsWith('matroska');
  // ffmpeg complains about one extra byte, and an old one may end in the middle without a complaint.
  const end = isMatroska && (broken || short) ? await endOfMatroska(path) : broken;
  if (end === 'broken' || end === 'misfit')
    throw new PermanentError('media_corrupt', 'The file is damaged: its parts do not fit together');
  // FLAC counts its samples when it is complete. https://www.rfc-editor.org/rfc/rfc9639#section-8.2
  return end === 'cut' || (format === 'flac' && short) ? { missing: undefined } : undefined;
}

function truncated({ missing }: Cut, short?: Length): PermanentError {
  const words =
    short?.said !== undefined
      ? `its header says ${short.said.toFixed(1)} s, but it ends after ${short.found.toFixed(1)} s`
      : missing
        ? `${missing.bytes} of its ${missing.of} bytes are missing`
        : 'it ends in the middle, or before its index';
  return new PermanentError('media_truncated', `The file is cut off: ${words}`);
}

/**
 * If the decoder returned less than the file claims, its packets decide whether the file is wrong, or ffmpeg lost some
 * of it. An ffmpeg that is too old may lose it without a complaint.
 * @throws PermanentError `ffmpeg_too_old`, `media_corrupt`, `no_audio_stream`, `no_video_stream`; what Ffmpeg throws
 */
export async function checkDecoded(
  media: Media,
  { said = media.probe.duration, found, ...stream }: Length & Stream,
  means: Means,
): Promise<void> {
  if (found > 0 && said !== undefined && !endsEarly(said, found)) return;
  const { held } = await packetsOf(media, stream, means);
  if (!endsEarly(held, found)) {
    if (found === 0 && stream.needed) throw noneOf(stream.kind, media.probe);
    return;
  }
  const capabilities = await means.ffmpeg.capabilities();
  const words = `${found.toFixed(1)} s of ${held.toFixed(1)} s of its ${stream.kind === 'audio' ? 'sound' : 'picture'}`;
  if (isOld(capabilities)) throw tooOld(`ffmpeg ${capabilities.version} decodes ${words}`);
  throw new PermanentError('media_corrupt', `The file is damaged: only ${words} can be decoded`);
}

/**
 * PCM in MP4 as in ISO/IEC 23003-5: before 6.1, ffmpeg does not read the box with the byte order of the samples, so
 * half of such files become noise of the right length.
 * @throws PermanentError `ffmpeg_too_old`
 */
export async function checkReadable(audio: AudioStream, ffmpeg: Ffmpeg): Promise<void> {
  if (!/^[if]pcm$/.test(audio.tag)) return;
  const capabilities = await ffmpeg.capabilities();
  if (isOld(capabilities)) throw tooOld(`ffmpeg ${capabilities.version} may turn its sound (${audio.tag}) into noise`);
}
