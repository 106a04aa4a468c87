-- Adds media jobs, one of each kind; use the statement that you need. The payloads are those of the services that did
-- these jobs before Rowmill. Each original is named by its key in storage. The results are in the jobs' rows and,
-- because of on_media_processed, in those of a table of messages.

-- A picture: at most 2048 x 2048 and upright, and a thumbnail.
insert into media_jobs (kind, payload)
values ('image', '{"type": "image", "s3Key": "uploads/user123/photo.jpg", "userId": "user-uuid",
                   "messageId": "message-uuid", "originalName": "vacation.jpg"}')
returning id;

-- A video: MP4 with H.264 and AAC that starts while it loads, and a thumbnail.
insert into media_jobs (kind, payload)
values ('video', '{"type": "video", "s3Key": "uploads/user123/video.mp4", "userId": "user-uuid",
                   "messageId": "message-uuid", "originalName": "clip.mp4"}')
returning id;

-- A voice message: MP3, and a waveform of 100 values.
insert into media_jobs (kind, payload)
values ('audio', '{"type": "audio", "s3Key": "uploads/user123/voice.ogg", "userId": "user-uuid",
                   "messageId": "message-uuid", "originalName": "voice-message.ogg"}')
returning id;

-- Thumbnails of an uploaded picture or video, saved in media.thumbnails. media.status follows the job: PENDING,
-- PROCESSING, READY or FAILED. "sizes": [{"width": 320, "height": 240}] and "format": "avif" in the payload would
-- replace THUMBNAIL_SIZES and WebP.
with upload as (
  insert into media (source_key)
  values ('uploads/user123/clip.mp4')
  returning id
)
insert into media_jobs (kind, payload)
select 'thumbnails', jsonb_build_object('mediaId', id)
  from upload
returning id as job_id, file_id as media_id;

-- The same for all media without thumbnails and without a pending job. If run again, it adds only new ones.
insert into media_jobs (kind, file_id, priority)
select 'thumbnails', m.id, 10
  from media m
 where m.thumbnails is null and m.source_key is not null and m.deleted_at is null
   and not exists (select from media_jobs j where j.file_id = m.id::text and j.status in ('pending', 'processing'));

-- A video in several formats and sizes, for streaming.
insert into media_jobs (kind, payload)
values ('transcode', '{"videoId": "video-123", "inputPath": "uploads/user123/video.mp4", "userId": "user-456",
                       "options": {"formats": ["hls", "mp4"], "watermark": true, "thumbnails": true}}')
returning id;
