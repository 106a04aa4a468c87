import { PermanentError } from '../../base/errors.ts';

/**
 * Before ffmpeg 7, some sound is lost, or becomes noise, without an error: AMR with several frames per sample, PCM as
 * in ISO/IEC 23003-5.
 */
export const leastVersion = 7;

/** ffmpeg 7.0 has libavcodec 61. Builds of the newest source have no other number. */
export const isOld = ({ libavcodec }: { libavcodec: number }): boolean => libavcodec < 61;

/** @param words what this ffmpeg does with the file */
export const tooOld = (words: string): PermanentError =>
  new PermanentError('ffmpeg_too_old', `${words}: install ffmpeg ${leastVersion} or newer, then run the job again`);
