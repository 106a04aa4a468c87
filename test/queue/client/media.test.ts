import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createClient, InvalidJob, type Client } from '../../../worker/queue/client/client.ts';
import { mediaQueue } from '../../../worker/queue/client/media.ts';
import { createDatabase, type TestDatabase } from '../../support/database.ts';

let db: TestDatabase;
let client: Client;
before(async () => {
  db = await createDatabase();
  client = createClient(db.url);
});
after(async () => {
  await client.close();
  await db.drop();
});

test('the functions of the messenger add the jobs that its messages describe', async () => {
  const { addImageProcessingJob, addVideoProcessingJob, addAudioProcessingJob } = mediaQueue(client);
  const { created } = await addImageProcessingJob(
    'uploads/user123/photo.jpg',
    'user-uuid',
    'message-uuid',
    'vacation.jpg',
  );
  await addVideoProcessingJob('uploads/user123/video.mp4', 'user-uuid', 'message-uuid', 'clip.mp4', { priority: -1 });
  await addAudioProcessingJob('uploads/user123/voice.ogg', 'user-uuid', 'message-uuid');

  const { rows } = await db.query(`select kind, payload, priority from media_jobs order by id`);
  assert.ok(created);
  const ids = { userId: 'user-uuid', messageId: 'message-uuid' };
  assert.deepEqual(rows, [
    {
      kind: 'image',
      payload: { type: 'image', s3Key: 'uploads/user123/photo.jpg', ...ids, originalName: 'vacation.jpg' },
      priority: 0,
    },
    {
      kind: 'video',
      payload: { type: 'video', s3Key: 'uploads/user123/video.mp4', ...ids, originalName: 'clip.mp4' },
      priority: -1,
    },
    { kind: 'audio', payload: { type: 'audio', s3Key: 'uploads/user123/voice.ogg', ...ids }, priority: 0 },
  ]);
});

test('a job without a key is not added', async () => {
  const { addImageProcessingJob } = mediaQueue(client);
  await assert.rejects(addImageProcessingJob('', 'user-uuid', 'message-uuid'), (error) => {
    assert.ok(error instanceof InvalidJob);
    assert.equal(error.message, 'payload.s3Key: must be a text that is not empty');
    return true;
  });
});
