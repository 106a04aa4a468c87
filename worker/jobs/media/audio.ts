import { join } from 'node:path';
import { withTempDir } from '../../base/temp.ts';
import { processAudio, type ProcessedAudio } from '../../media/audio/audio.ts';
import type { Stored } from '../../media/outputs/outputs.ts';
import { job, minutes } from '../../queue/job.ts';
import { findOriginal, originalPayload, prepareOutputs, saveProcessed, withOriginal } from './original/original.ts';

/** url, key and bytes are those of the MP3. */
export type AudioResult = Stored &
  Pick<ProcessedAudio, 'waveform' | 'metadata'> & {
    /** The original is cut off, and this is what was left of it. */
    truncated?: true;
  };

/**
 * Makes an MP3 of a sound in storage, or of a video's sound, without metadata; and a waveform for players, 100 numbers
 * from 0 to 100. The original is not changed.
 */
export default job({
  name: 'media.audio',
  payload: originalPayload,
  timeout: minutes(60),

  async run({ job: row, payload, app, signal, progress, waiting, aside, commit }) {
    const { ffmpeg, config } = app;
    const memory = app.memory.of({ waiting, aside });
    const original = await findOriginal(app.db, row, payload);

    return withTempDir(config.tempDir, async (dir) => {
      const path = join(dir, 'original');
      const { key } = original;
      const { audioBitrate, maxSeconds } = config.video;
      const made = await withOriginal(app, key, { path, signal }, async () => {
        progress(10);
        const settings = { audioBitrate, maxSeconds, truncated: config.mediaTruncated };
        const onProgress = (share: number) => progress(10 + share * 80);
        return processAudio(path, { ffmpeg, memory, settings, dir, signal, onProgress });
      });
      progress(90);

      const recipe = { kind: 'audio', audioBitrate };
      const outputs = await prepareOutputs(app, row, { key, sha256: made.sha256 }, recipe, signal);
      const { waveform, truncated, metadata } = made;
      const result: AudioResult = {
        ...(await outputs.put('audio.mp3', { path: made.path })),
        waveform,
        ...(truncated ? { truncated } : {}),
        metadata,
      };
      return commit(async (tx) => {
        await saveProcessed(tx, row, original, result);
        return result;
      });
    });
  },
});
