import assert from 'node:assert/strict';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { clip, ffmpegEnv } from '../support/clips.ts';
import { eventually } from '../support/eventually.ts';
import { reads } from '../support/jobs.ts';
import { createMediaRig, type MediaRig } from '../support/media-rig.ts';
import { picture } from '../support/pictures.ts';

// A setting that is wrong is an incident: the job waits, uses no retry, and goes on once it is fixed.

async function createRig(t: TestContext, env: Record<string, string>): Promise<MediaRig> {
  const rig = await createMediaRig({
    ...ffmpegEnv,
    FFMPEG_PRESET: 'ultrafast',
    INCIDENT_CHECK_INTERVAL: '200',
    ...env,
  });
  t.after(() => rig.close());
  return rig;
}

/** Waits until an incident of this code holds the job, and gives its message. */
async function held(rig: MediaRig, id: number, code: string): Promise<string> {
  await reads(rig.db, id, { status: 'pending', error_code: code, retry_count: 0 }, 30_000);
  return eventually(async () => {
    const [incident] = await rig.sql(`select message from incidents where code = $1 and resolved_at is null`, [code]);
    assert.ok(incident);
    return incident['message'] as string;
  });
}

test('a watermark file that is not there, or is no picture', async (t) => {
  const rig = await createRig(t, {});
  const logo = join(rig.temp, 'logo.png');
  // The worker reads the setting when it starts.
  Object.assign(rig.app.config.watermark, { path: logo, enabled: true });
  const id = await rig.submit('transcode', 'clip.mp4', await clip({ seconds: 1 }), {
    options: { formats: ['mp4'], thumbnails: false },
  });
  assert.match(await held(rig, id, 'watermark_missing'), /WATERMARK_PATH .*logo\.png cannot be read \(ENOENT\)/);
  await writeFile(logo, await picture({ format: 'png' }));
  await reads(rig.db, id, { status: 'completed', retry_count: 0 }, 60_000);

  await writeFile(logo, 'no picture');
  const next = await rig.submit('transcode', 'other.mp4', await clip({ seconds: 1 }), {
    options: { formats: ['mp4'], thumbnails: false },
  });
  assert.match(await held(rig, next, 'watermark_broken'), /WATERMARK_PATH .*logo\.png is no PNG/);
});

test('a TEMP_DIR that cannot be written to', async (t) => {
  const rig = await createRig(t, {});
  const place = join(rig.temp, 'place');
  await writeFile(place, 'a file');
  Object.assign(rig.app.config, { tempDir: place });
  const id = await rig.submit('image', 'a.jpg', await picture());
  assert.match(await held(rig, id, 'temp_dir_unusable'), /TEMP_DIR .*place cannot be written to/);
  await rm(place);
  await mkdir(place);
  await reads(rig.db, id, { status: 'completed', retry_count: 0 }, 60_000);
});
