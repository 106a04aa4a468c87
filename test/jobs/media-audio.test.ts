import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { after, before, beforeEach, test } from 'node:test';
import { slow } from '../support/everything.ts';
import { h264, openFootage, picture, tone, type Footage } from '../support/footage.ts';
import { ffmpegEnv } from '../support/clips.ts';
import { eventually } from '../support/eventually.ts';
import { add, failsOnce, reads } from '../support/jobs.ts';
import { createMediaRig, type MediaRig } from '../support/media-rig.ts';
import { s3Failures } from '../support/s3-server.ts';

// media.audio end to end: a row, S3 over a socket, ffmpeg.

let rig: MediaRig;
let clips: Footage;

before(async () => {
  clips = await openFootage();
  rig = await createMediaRig({
    ...ffmpegEnv,
    STORAGE_PRIVATE: 'true',
  });
  await rig.sql(
    `create table messages (id text primary key, media_url text, thumbnail_url text, waveform jsonb, metadata jsonb)`,
  );
  const voice = await clips.make('voice.ogg', `${tone(2)} -c:a libopus -b:a 24k`);
  await rig.app.storage.put('uploads/user123/voice.ogg', await readFile(voice), { contentType: 'audio/ogg' });
});
beforeEach(() => {
  rig.s3.heal();
  rig.s3.requests.length = 0;
});
after(async () => {
  await rig.close();
  await clips.close();
});

const audio = (payload: Record<string, unknown>, columns: Record<string, unknown> = {}) =>
  add(rig.db, 'media', 'audio', { payload, ...columns });
const written = () => rig.s3.requests.filter(({ method, url }) => method === 'PUT' && url.includes('/processed/'));

test('the message of the documentation is processed: MP3 stored, waveform on the message', async () => {
  await rig.sql(`insert into messages (id) values ('message-uuid')`);
  const [media] = await rig.sql(`insert into media default values returning id`);
  const payload = {
    type: 'audio',
    s3Key: 'uploads/user123/voice.ogg',
    userId: 'user-uuid',
    messageId: 'message-uuid',
    originalName: 'voice-message.ogg',
  };
  const id = await audio(payload, { file_id: media!.id });
  const { result } = await reads(rig.db, id, { status: 'completed', attempt: 1, progress: 100 }, 30_000);
  const { url, waveform, metadata, bytes } = result;
  assert.equal(waveform.length, 100);
  assert.equal(Math.max(...waveform), 100);
  const { duration, codec, channels, sample_rate, format } = metadata;
  assert.deepEqual(
    { codec, channels, sample_rate, format },
    { codec: 'opus', channels: 1, sample_rate: 48_000, format: 'opus' },
  );
  assert.ok(Math.abs(duration - 2) < 0.05);

  const [stored] = written();
  assert.deepEqual([stored!.headers['content-type'], stored!.body.length], ['audio/mpeg', bytes]);
  assert.equal(Buffer.from(await (await fetch(url)).arrayBuffer()).length, bytes, 'the address is signed');
  assert.deepEqual(await rig.sql(`select media_url, thumbnail_url, waveform, metadata from messages`), [
    { media_url: url, thumbnail_url: null, waveform, metadata },
  ]);
  assert.deepEqual(await rig.sql(`select status, url, thumbnail_url, metadata from media where id = $1`, [media!.id]), [
    { status: 'READY', url, thumbnail_url: null, metadata },
  ]);
  await eventually(async () => assert.deepEqual(await readdir(rig.temp), []));
});

slow('when storage fails for longer than its retries, the job is retried, and writes the same key', async () => {
  rig.s3.fail({
    ...s3Failures.slowDown,
    when: ({ method, url }) => method === 'PUT' && url.includes('/processed/'),
  });
  const id = await audio({ s3Key: 'uploads/user123/voice.ogg' });
  await failsOnce(rig.db, id);
  rig.s3.heal();
  const row = await reads(rig.db, id, { status: 'completed', error_code: 'storage_unavailable' });
  assert.ok(row['attempt'] > 1);
  assert.equal(new Set(written().map(({ url }) => url.split('?')[0])).size, 1);
});

test('a video without sound is a dead letter at once', async () => {
  const mute = await clips.make('mute.mp4', `${picture('64x64', 0.2)} ${h264}`);
  await rig.app.storage.put('mute.mp4', await readFile(mute), { contentType: 'video/mp4' });
  rig.s3.requests.length = 0;
  const id = await audio({ s3Key: 'mute.mp4' });
  await reads(rig.db, id, { status: 'failed', error_code: 'no_audio_stream', attempt: 1 }, 30_000);
  assert.deepEqual(written(), []);
});

test('what is left of a recording that is cut off is delivered, and is said to be a part', async () => {
  const words = `${tone(3)} -c:a libopus -b:a 64k -live 1`;
  const cut = await clips.change(await clips.make('a.webm', words), (bytes) => bytes.subarray(0, bytes.length * 0.6));
  await rig.put('cut.webm', await readFile(cut));
  const id = await audio({ s3Key: 'cut.webm' });
  const { result } = await reads(rig.db, id, { status: 'completed', attempt: 1 }, 30_000);
  assert.equal(result.truncated, true);
  const whole = await audio({ s3Key: 'uploads/user123/voice.ogg' });
  assert.ok(!('truncated' in (await reads(rig.db, whole, { status: 'completed' }, 30_000))['result']));
});

test('a row of media that is deleted while its sound is processed is not written to', async () => {
  const [media] = await rig.sql(`insert into media (source_key) values ('uploads/user123/voice.ogg') returning id`);
  await rig.sql(`create function wait_for_test() returns trigger language plpgsql as $$ begin
      perform pg_advisory_xact_lock(42); return null; end $$`);
  await rig.sql(
    `create trigger wait_for_test before update of url on media for each statement execute function wait_for_test()`,
  );
  const client = await rig.db.connect();
  try {
    await client.query(`select pg_advisory_lock(42)`);
    const id = await audio({ mediaId: media!.id });
    await eventually(async () => {
      const waiting = await rig.sql(
        `select from pg_stat_activity where datname = current_database() and wait_event = 'advisory'`,
      );
      assert.equal(waiting.length, 1);
    }, 30_000);
    await rig.sql(`update media set deleted_at = now() where id = $1`, [media!.id]);
    await client.query(`select pg_advisory_unlock(42)`);
    await reads(rig.db, id, { status: 'failed', error_code: 'media_deleted', attempt: 2 }, 30_000);
    assert.deepEqual(await rig.sql(`select error_code from job_errors where job_id = $1 order by attempt`, [id]), [
      { error_code: 'media_changed' },
      { error_code: 'media_deleted' },
    ]);
    assert.equal((await rig.sql(`select url from media where id = $1`, [media!.id]))[0]!['url'], null);
  } finally {
    client.release(true);
  }
});
