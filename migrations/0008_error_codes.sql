-- Error codes: what happened, why, and what to do, for each code that Rowmill writes to error_code.
--
-- A job that failed has a code and a message. The message is about this job, the row here about all jobs with its code.
-- The view dead_letters, `rowmill show`, `rowmill status` and `rowmill doctor` show both.
--
-- Rowmill's own codes, such as raid_timeout, have a row each. An error of Postgres or of the operating system becomes a
-- code by a rule (codeFor in worker/queue/run/outcome.ts): SQLSTATE 23505 is postgres_23505, ECONNREFUSED is
-- econnrefused. The common ones have a row of their own. postgres_* is for all others that begin with postgres_, and
-- err_* likewise. The codes of your own kinds are yours: insert rows for them.
--
-- A new code is a row in a new migration: test/queue/error-codes.test.ts holds that none is missing here.
--
-- Locks: creates only. Undo: drop the view and the table.

create table error_codes (
  code     text primary key check (char_length(code) between 1 and 60),
  family   text not null,
  what     text not null,
  cause    text not null,
  solution text not null
);
comment on table  error_codes is
  'What each error_code means. Rowmill''s own come with its migrations; add rows for yours.';
comment on column error_codes.code is 'postgres_* is for all that begin with postgres_ and have no row of their own.';
comment on column error_codes.family is 'Where the error comes from: StorageError, FFmpegError, JobError, ...';
comment on column error_codes.what is 'What happened.';
comment on column error_codes.cause is 'Why it mostly happens.';
comment on column error_codes.solution is 'What to do about it.';

create view dead_letters as
select j.*, j.queue || '.dead' as dead_queue,
       coalesce(e.cause, others.cause) as cause, coalesce(e.solution, others.solution) as solution
  from jobs j
  left join error_codes e on e.code = j.error_code
  left join error_codes others on others.code = split_part(j.error_code, '_', 1) || '_*'
 where j.status = 'failed';
comment on view dead_letters is
  'Jobs that failed for good and wait for a person, with the cause and the solution that error_codes has for them.';

insert into error_codes (code, family, what, cause, solution) values

-- Any job ------------------------------------------------------------------------------------------------------------

('unknown_kind', 'JobError',
 'No handler of this worker has the name of the job.',
 'The queue or the kind is misspelled, or the kind belongs to a newer version of the worker.',
 'Correct kind in the row, or deploy a worker that has this kind. Then retry the job.'),

('invalid_payload', 'JobError',
 'The payload does not have the form that its kind asks for.',
 'A key is missing, or its value has the wrong type or is out of range. The message names each one.',
 'Correct payload in the row and retry the job, or correct the code that adds such jobs.'),

('payload_too_large', 'JobError',
 'The payload is larger than a worker reads.',
 'Its text has more than 64 MB, or is nested so deeply that Postgres cannot print it.',
 'Keep the data in storage or in a table, and add a job whose payload has only the key.'),

('cannot_start', 'JobError',
 'Postgres refused the update that starts the job.',
 'Mostly a trigger or a constraint of your own on the table of the queue. The message has the words of Postgres.',
 'Correct the trigger, the constraint or the row. Then retry the job.'),

('timeout', 'JobError',
 'The job took longer than the time limit of its kind.',
 'The work was too much for the limit, or something that the job waited for did not answer.',
 'Look at what was slow. If the work needs the time, raise queues.timeout_ms. Then retry the job.'),

('worker_lost', 'JobError',
 'The worker that ran the job died or lost its connection to Postgres.',
 'A crash, too little memory, or a broken network. A job that fails so again and again may itself kill its worker.',
 'Look at the log of the worker and at the memory of its host. Then retry the job.'),

('expired', 'JobError',
 'The job did not start before its expires_at, and was cancelled.',
 'It waited too long: for its turn, a retry, an incident or a paused queue, or while no worker ran.',
 'If it is still wanted, move expires_at and set status to pending. If many expire, start more workers.'),

('snoozed_too_long', 'JobError',
 'The job did nothing but wait for longer than queues.snooze_limit.',
 'A service or a rate limit told it again and again to come back later. The message has the last reason.',
 'Remove the reason, or raise queues.snooze_limit. Then retry the job.'),

('result_too_large', 'JobError',
 'The result of the handler does not fit into its row.',
 'It has more than 1 MB as JSON, or is nested too deeply.',
 'Change the handler: it stores the data elsewhere and returns where that is.'),

('result_not_stored', 'JobError',
 'The handler was done, but Postgres refused to store its result.',
 'Mostly a trigger or a constraint of your own on the table of the queue. The message has the words of Postgres.',
 'Correct the trigger or the constraint, then retry the job. Its work is done again.'),

('bad_batch_answer', 'JobError',
 'runBatch did not return one answer for each of its jobs.',
 'A fault in the handler of this kind.',
 'Correct the handler: it returns an array as long as that of its jobs, in the same order.'),

('uncaught_exception', 'JobError',
 'The handler threw an error where nothing could catch it.',
 'A timer, a stream or an event listener of the handler threw later.',
 'Correct the handler: it awaits or catches what it starts. The message has the words of the error.'),

('unexpected_error', 'JobError',
 'The handler threw an error that has no code.',
 'Mostly a fault in the handler, or a case that it was not written for.',
 'Read the message, and the stack in job_errors. Correct the handler, then retry the job.'),

-- Publishing ---------------------------------------------------------------------------------------------------------

('file_not_found', 'PublishError',
 'The job names no row of auction_files.',
 'file_id is null or wrong, or the row was removed after the job was added.',
 'Set file_id to the id of a row and retry the job, or delete the job.'),

('file_deleted', 'PublishError',
 'The row of auction_files is marked as deleted, so there is nothing to publish.',
 'The file was deleted after the job was added.',
 'Delete the job. Or set deleted_at of the row to null and retry the job.'),

('file_changed', 'PublishError',
 'The file was deleted or got another original while it was being published.',
 'Something updated the row of auction_files during the job. What was made of the old original was not saved.',
 'None is needed: the retry publishes the file as it is now. If it comes back, find out what updates the row.'),

('source_key_missing', 'MediaProcessingError',
 'Nothing says which original is to be processed.',
 'source_key of the row of auction_files or media is null, and the payload names no key.',
 'Set source_key of the row, or s3Key of the payload. Then retry the job.'),

-- RAID: where the originals of auction files are fetched from --------------------------------------------------------

('raid_not_configured', 'RaidError',
 'The worker does not know where to fetch originals from.',
 'RAID_PUB_ENDPOINT and RAID_PUBLISHER_SECRET are not set.',
 'Set both and restart the worker. Then retry what failed.'),

('raid_unauthorized', 'RaidError',
 'RAID answered 401 or 403.',
 'RAID_PUBLISHER_SECRET is wrong or has expired, or may not read this file.',
 'Set the right RAID_PUBLISHER_SECRET and restart the worker. Then retry what failed.'),

('raid_not_found', 'RaidError',
 'RAID has no file of this key: it answered 404 or 410.',
 'source_key of the row of auction_files is wrong, or the original was removed from RAID or has not arrived there.',
 'Check source_key in RAID. Once the file is there, retry the job.'),

('raid_unavailable', 'RaidError',
 'RAID could not be reached, or answered with a server error.',
 'RAID is down or overloaded, RAID_PUB_ENDPOINT is wrong, or the network between them is broken.',
 'Check that RAID is up and RAID_PUB_ENDPOINT is right; rowmill doctor asks it. Then retry what failed.'),

('raid_rate_limited', 'RaidError',
 'RAID answered 429: too many requests.',
 'More publish jobs run at a time than RAID allows.',
 'Lower CONCURRENCY, or set rate_limit of the queue publish. Then retry what failed.'),

('raid_refused', 'RaidError',
 'RAID did not take the request, or sent the file in an encoding that nobody asked for.',
 'Mostly RAID_PUB_ENDPOINT is not the address of its download, or RAID has changed.',
 'Check RAID_PUB_ENDPOINT. The message has the status that RAID answered.'),

('raid_redirected', 'RaidError',
 'RAID redirected to another server, to nowhere, or too often.',
 'RAID_PUB_ENDPOINT is an old address, or has http where RAID has https. The secret is not sent to another server.',
 'Set RAID_PUB_ENDPOINT to the address that RAID redirects to and restart the worker.'),

('raid_too_large', 'RaidError',
 'The original is larger than the limit.',
 'It has more megabytes than RAID_MAX_MB.',
 'Raise RAID_MAX_MB if such files are wanted, restart the worker and retry the job. Else replace the file.'),

('raid_truncated', 'RaidError',
 'The connection broke off in the middle of the file.',
 'RAID or a proxy in front of it closed the connection, or the network is unstable.',
 'Look at the log of RAID and of the proxy. Then retry the job.'),

('raid_timeout', 'RaidError',
 'RAID did not deliver the file in time.',
 'RAID or the network is slow, or the file is too large for RAID_TIMEOUT.',
 'Raise RAID_TIMEOUT (milliseconds) if the files are large, else find out what is slow. Then retry the job.'),

-- Media: the original ------------------------------------------------------------------------------------------------

('media_not_found', 'MediaProcessingError',
 'The job names a row of media that does not exist.',
 'mediaId of the payload is wrong, or the row was removed after the job was added.',
 'Correct mediaId and retry the job, or delete the job.'),

('media_deleted', 'MediaProcessingError',
 'The row of media is marked as deleted.',
 'The media was deleted after the job was added.',
 'Delete the job. Or set deleted_at of the row to null and retry the job.'),

('media_changed', 'MediaProcessingError',
 'The row of media was deleted or got another original while the job ran.',
 'Something updated the row during the job. What was made of the old original was not saved.',
 'None is needed: the retry processes the media as it is now. If it comes back, find out what updates the row.'),

('original_changed', 'MediaProcessingError',
 'The original in storage changed while it was being processed.',
 'The job was added before the upload was complete, or the object was written again.',
 'None is needed if a retry succeeds. Add jobs after the upload is complete.'),

('file_too_large', 'MediaProcessingError',
 'The original is larger than the limit.',
 'It has more megabytes than MEDIA_MAX_MB.',
 'Raise MEDIA_MAX_MB if such files are wanted, restart the worker and retry the job.'),

('empty_file', 'MediaProcessingError',
 'The original has no bytes.',
 'The upload failed or has not begun.',
 'Upload the file again and retry the job.'),

('media_truncated', 'MediaProcessingError',
 'The file is cut off: it ends before its picture, video or sound does.',
 'The upload broke off, or the file was broken before.',
 'Upload the whole file and retry the job. To deliver what there is of such files, set MEDIA_TRUNCATED=deliver.'),

('unsupported_media', 'MediaProcessingError',
 'The file is neither a picture nor a video that can be read.',
 'It is of another type, whatever its name says.',
 'Upload a picture or a video, and add a job for it. Check types before the upload.'),

-- Media: pictures ----------------------------------------------------------------------------------------------------

('not_an_image', 'MediaProcessingError',
 'The file is not a picture.',
 'It is of another type, whatever its name says; often an error page that was saved as a picture.',
 'Look at the first bytes of the original. Upload a picture and retry the job.'),

('unsupported_image_format', 'MediaProcessingError',
 'The file is a picture of a format, or of a variant of a format, that is not read.',
 'Only JPEG, PNG, WebP, GIF, AVIF, HEIC and TIFF are read, without their rare variants. The message names this one.',
 'Convert the picture to JPEG or PNG, upload it again and retry the job.'),

('image_corrupt', 'MediaProcessingError',
 'The picture is damaged.',
 'Its bytes do not follow its format: the upload or the program that wrote it is at fault.',
 'Open the original in another program. Upload it again, or save it anew, and retry the job.'),

('image_too_large', 'MediaProcessingError',
 'The picture needs more memory than there is for one, or exceeds a limit of its format.',
 'It has too many pixels, pages, frames or too much metadata. The message says how much it needs.',
 'Raise MEDIA_MEMORY_MB to what the message says and restart, or upload a smaller picture. Then retry the job.'),

('sharp_missing', 'MediaProcessingError',
 'The library that decodes pictures (sharp) could not be loaded.',
 'npm install left it out (--omit=optional), or node_modules was copied from a machine of another platform.',
 'Run npm install on this host, without --omit=optional, and restart the worker. Then retry what failed.'),

('image_timeout', 'MediaProcessingError',
 'The picture took more than 120 seconds to decode.',
 'The host has too little CPU for what it runs, or the picture was made to be slow.',
 'Look at the load of the host and retry the job. If only this picture fails, replace it.'),

-- Media: watermarks --------------------------------------------------------------------------------------------------

('watermark_missing', 'MediaProcessingError',
 'There is no watermark to put on the video.',
 'WATERMARK_PATH is not set or cannot be read on this host, or options.watermark.key names no object in storage.',
 'Put the file there, or correct WATERMARK_PATH or the key. Then retry the job.'),

('watermark_broken', 'MediaProcessingError',
 'The watermark is no picture that can be read.',
 'The file of WATERMARK_PATH or the object of options.watermark.key is damaged, or no PNG, JPEG, WebP, GIF or AVIF.',
 'Put a PNG there. Then retry the job.'),

-- Media: video and sound ---------------------------------------------------------------------------------------------

('not_media', 'FFmpegError',
 'The file is neither video nor sound.',
 'It is of another type, whatever its name says, or of a format that is not let in.',
 'Upload a video or a recording, such as MP4, MOV, WebM, MP3, M4A, WAV or OGG, and retry the job.'),

('media_corrupt', 'FFmpegError',
 'The file is damaged: ffmpeg cannot decode it, or only parts of it.',
 'Its bytes do not follow its format: the upload or the program that wrote it is at fault.',
 'Play the original to its end in another program. Upload it again, or export it anew, and retry the job.'),

('media_encrypted', 'FFmpegError',
 'The file is encrypted.',
 'It was bought or recorded with copy protection (DRM).',
 'Upload a file without DRM.'),

('unsupported_codec', 'FFmpegError',
 'The picture or the sound is in a codec that this ffmpeg cannot decode.',
 'The codec is rare or newer than the ffmpeg of the worker. The message names it.',
 'Install a newer ffmpeg, or convert the file to H.264 and AAC. Then retry the job.'),

('no_video_stream', 'FFmpegError',
 'The file has no picture that can be decoded.',
 'It is a recording of sound alone, or its video is damaged from the start.',
 'Add a job of kind audio for it, or upload a video.'),

('no_audio_stream', 'FFmpegError',
 'The file has no sound that can be decoded.',
 'It is a video without sound, or its sound is damaged from the start.',
 'Upload a file with sound, or delete the job.'),

('too_many_streams', 'FFmpegError',
 'The file has more than 32 streams of video and sound.',
 'It was made to cost memory, or comes from an editing program.',
 'Export it with one video and one sound, and upload that.'),

('video_too_large', 'FFmpegError',
 'The video has too many pixels.',
 'It has more than 8192 on a side or 36 million in all, or needs more memory than MEDIA_MEMORY_MB allows.',
 'Raise MEDIA_MEMORY_MB if the message names it and restart, or upload a smaller video. Then retry the job.'),

('video_too_long', 'FFmpegError',
 'The video lasts longer than the limit.',
 'It has more seconds than VIDEO_MAX_SECONDS.',
 'Raise VIDEO_MAX_SECONDS if such videos are wanted, restart the worker and retry the job.'),

('audio_too_long', 'FFmpegError',
 'The sound lasts longer than the limit.',
 'It has more seconds than VIDEO_MAX_SECONDS, which holds for recordings too.',
 'Raise VIDEO_MAX_SECONDS if such recordings are wanted, restart the worker and retry the job.'),

('frame_rate_too_high', 'FFmpegError',
 'The video has more than 300 frames a second.',
 'It comes from a high-speed camera, or its header is wrong.',
 'Export it with at most 240 frames a second, and upload that.'),

('output_too_large', 'FFmpegError',
 'ffmpeg wrote more than the limit for one output.',
 'The video is extremely long or detailed, or VIDEO_BITRATE is very high.',
 'Lower VIDEO_BITRATE and restart the worker, or upload a shorter video. Then retry the job.'),

('output_invalid', 'FFmpegError',
 'What ffmpeg wrote is not what was asked for.',
 'Mostly an old or unusual build of ffmpeg, or a file that was damaged on disk.',
 'Retry the job. If it comes back, run rowmill doctor and install a current ffmpeg.'),

-- Media: the program ffmpeg ------------------------------------------------------------------------------------------

('ffmpeg_missing', 'FFmpegError',
 'There is no ffmpeg or ffprobe that runs.',
 'It is not installed on this host, or not in the PATH of the worker.',
 'Install ffmpeg, or set FFMPEG_PATH and FFPROBE_PATH. Then retry what failed.'),

('ffmpeg_path_wrong', 'FFmpegError',
 'FFMPEG_PATH or FFPROBE_PATH does not name a program that runs.',
 'The path is misspelled, the file may not be executed, or it was built for another platform.',
 'Correct the path, or leave it unset where ffmpeg is in PATH. Then restart the worker.'),

('ffmpeg_incomplete', 'FFmpegError',
 'This ffmpeg lacks an encoder, a filter or a format that is needed.',
 'It was built without it; small builds leave much out.',
 'Run rowmill doctor, which says what is missing, and install a full build of ffmpeg.'),

('ffmpeg_too_old', 'FFmpegError',
 'This ffmpeg is too old to decode the sound of this file correctly.',
 'Older versions read some sound in MP4 as noise, or not at all. The message names the version that is needed.',
 'Install that version or a newer one and restart the worker. Then retry the job.'),

('sandbox_missing', 'FFmpegError',
 'ffmpeg does not run in the sandbox that it ran in when the worker started.',
 'The rights of the container, or the program that makes the sandbox, changed while the worker ran.',
 'Put them back, or restart the worker: it chooses the sandbox anew. rowmill doctor says which one.'),

('ffmpeg_not_started', 'FFmpegError',
 'ffmpeg, or its sandbox, could not be started.',
 'The host has no processes, memory or open files left.',
 'Look at the limits and the load of the host. Then retry the job.'),

('ffmpeg_timeout', 'FFmpegError',
 'ffmpeg took longer than its limit, which grows with the length of the file.',
 'The host has too little CPU for what it runs, or the file says a wrong length.',
 'Look at the load of the host; lower WORKER_CONCURRENCY or give it more CPU. Then retry the job.'),

('ffmpeg_killed', 'FFmpegError',
 'ffmpeg was killed from outside, or had used up its CPU time.',
 'Mostly the host or container had no memory left.',
 'Lower MEDIA_MEMORY_MB, or give the host more memory. Then retry the job.'),

('ffmpeg_crashed', 'FFmpegError',
 'ffmpeg crashed.',
 'A fault in this version of ffmpeg that this file meets.',
 'Install a newer ffmpeg and retry the job.'),

('out_of_memory', 'FFmpegError',
 'ffmpeg asked for more memory than it may have.',
 'The host or container had no memory left, or the video needs more than was estimated.',
 'Lower WORKER_CONCURRENCY, or give the host more memory. Then retry the job.'),

-- imagorvideo: takes pictures out of videos, where IMAGORVIDEO_URL is set --------------------------------------------

('imagorvideo_failed', 'ImagorVideoError',
 'imagorvideo could not make a picture of the video: it answered 406.',
 'The video is damaged or in a format that it does not know, or the disk of imagorvideo is full.',
 'Look at the log of imagorvideo. Without IMAGORVIDEO_URL, ffmpeg makes the pictures.'),

('imagorvideo_bad_answer', 'ImagorVideoError',
 'imagorvideo did not send a picture that can be used.',
 'IMAGORVIDEO_URL is the address of something else, or a proxy in front of it answered.',
 'Check IMAGORVIDEO_URL; rowmill doctor asks it. Then retry the job.'),

('imagorvideo_unauthorized', 'ImagorVideoError',
 'imagorvideo answered 401 or 403.',
 'It does not run with -imagor-unsafe, or may not read the storage.',
 'Start it with -imagor-unsafe, and let it reach the storage. Then retry what failed.'),

('imagorvideo_not_found', 'ImagorVideoError',
 'imagorvideo did not find the video: it answered 404 or 410.',
 'It cannot reach the storage by the address in the signed URL, or the original was deleted.',
 'Open the storage''s endpoint from the host of imagorvideo. Then retry the job.'),

('imagorvideo_unavailable', 'ImagorVideoError',
 'imagorvideo could not be reached, or answered with a server error.',
 'It is down or overloaded, or IMAGORVIDEO_URL is wrong.',
 'Check that it is up and IMAGORVIDEO_URL is right; rowmill doctor asks it. Then retry what failed.'),

('imagorvideo_rate_limited', 'ImagorVideoError',
 'imagorvideo answered 429: too many requests.',
 'More thumbnails are made at a time than its -imagor-process-concurrency and queue allow.',
 'Raise these limits of imagorvideo, or lower WORKER_CONCURRENCY. Then retry what failed.'),

('imagorvideo_refused', 'ImagorVideoError',
 'imagorvideo did not take the request.',
 'Mostly IMAGORVIDEO_URL is the address of something else. The message has the status that it answered.',
 'Check IMAGORVIDEO_URL and the version of imagorvideo. Then retry the job.'),

('imagorvideo_redirected', 'ImagorVideoError',
 'imagorvideo redirected to another server, to nowhere, or too often.',
 'IMAGORVIDEO_URL is an old address, or has http where a proxy has https.',
 'Set IMAGORVIDEO_URL to the address that it redirects to and restart the worker.'),

('imagorvideo_too_large', 'ImagorVideoError',
 'imagorvideo sent more than 100 MB for one picture.',
 'IMAGORVIDEO_URL is the address of something else.',
 'Check IMAGORVIDEO_URL. Then retry the job.'),

('imagorvideo_truncated', 'ImagorVideoError',
 'The connection to imagorvideo broke off in the middle of the picture.',
 'imagorvideo or a proxy in front of it closed the connection, or the network is unstable.',
 'Look at the log of imagorvideo and of the proxy. Then retry the job.'),

('imagorvideo_timeout', 'ImagorVideoError',
 'imagorvideo did not send the picture within 60 seconds.',
 'It is overloaded, or reads a large video from a slow storage.',
 'Give imagorvideo more CPU, or unset IMAGORVIDEO_URL so that ffmpeg does it. Then retry the job.'),

-- Storage ------------------------------------------------------------------------------------------------------------

('object_not_found', 'StorageError',
 'Storage has no object of this key.',
 'The key in the job or in the row is wrong, the upload has not happened, or the object was deleted.',
 'Check the key in the bucket that the message names. Once the object is there, retry the job.'),

('invalid_storage_key', 'StorageError',
 'The key cannot be the key of an object.',
 'It is empty or too long, or has "..", "//", a backslash or a control character. The message says which.',
 'Correct the key in the row or in the payload. Then retry the job.'),

('key_too_long', 'StorageError',
 'A key that is to be deleted from storage has more than 1024 bytes, so no object can have it.',
 'A row that a cleanup deleted had something else in the column of its key.',
 'None is needed: the row of storage_deletions can be deleted.'),

('storage_unavailable', 'StorageError',
 'Storage could not be reached, or could not serve the request.',
 'It is down or overloaded, its endpoint is wrong, no credentials were found, or the network is broken.',
 'Run rowmill doctor, which asks the storage. Correct what it names, then retry what failed.'),

('storage_timeout', 'StorageError',
 'Storage did not answer in time.',
 'It is overloaded, or the network to it is slow.',
 'Look at the status page or the load of the storage. Then retry what failed.'),

('storage_denied', 'StorageError',
 'Storage denied the request.',
 'The access key is wrong or expired, or has no right to read, write or delete in this bucket.',
 'Correct the access key, its secret or its rights; rowmill doctor tries each. Then retry what failed.'),

('storage_bucket_missing', 'StorageError',
 'There is no bucket of this name at the endpoint.',
 'The name of the bucket or the endpoint in the settings is wrong, or the bucket was deleted.',
 'Create the bucket, or correct the settings and restart the worker. Then retry what failed.'),

('storage_full', 'StorageError',
 'Storage takes no more: its quota or its disk is full.',
 'A cap of the account was reached, or the disk of the storage is full.',
 'Raise the cap, add disk, or delete what is not needed. Then retry what failed.'),

('storage_refused', 'StorageError',
 'Storage refused the request.',
 'Mostly a setting of the bucket, such as a lock on its objects, or a storage that does not know this request.',
 'Read the words of the storage in the message. Correct the bucket or the settings, then retry what failed.'),

-- Temporary files ----------------------------------------------------------------------------------------------------

('disk_full', 'TempFileError',
 'The disk of the temporary files is full.',
 'The files of running jobs are larger than the disk, or something else fills it.',
 'Make room, or set TEMP_DIR to a larger disk and restart the worker. Then retry what failed.'),

('temp_dir_unusable', 'TempFileError',
 'The worker cannot write to the folder of its temporary files.',
 'TEMP_DIR does not exist, is mounted read-only, or belongs to another user.',
 'Set TEMP_DIR to a folder where the user of the worker may write, and restart the worker.'),

-- Cleanup ------------------------------------------------------------------------------------------------------------

('cleanup_tables_missing', 'CleanupError',
 'A table, column or function that the cleanup reads does not exist.',
 'The tables of the messenger were not made, or yours have other names.',
 'Run rowmill migrate --with messenger, or edit the statements in sql/cleanup/. Or disable the schedule.'),

('cleanup_tables_foreign', 'CleanupError',
 'A table that the cleanup deletes from belongs to another role.',
 'Its triggers would run with the rights of the worker, so the worker does not touch it.',
 'Grant the worker''s role to the owner of the table, or name another table in sql/cleanup/.'),

('orphans_unknown_prefix', 'CleanupError',
 'The payload names a prefix that the cleanup knows nothing about.',
 'prefixes of the payload is not among those of sql/cleanup/orphaned_media.sql.',
 'Correct prefixes, or add the prefix and the tables that refer to it to that file. Then retry the job.'),

('orphans_no_references', 'CleanupError',
 'A table that refers to objects is empty, so every object seems to be an orphan. Nothing was deleted.',
 'Mostly the worker is connected to the wrong database, or to one that was just restored.',
 'Check DATABASE_URL and the bucket. Retry the job when the tables have their rows.'),

('orphans_too_many', 'CleanupError',
 'So many objects seem to be orphans that something must be wrong. Nothing was deleted.',
 'Database and bucket do not belong together, or application_object_uses does not know a table of yours.',
 'Check both. If the objects really are orphans, raise maxShare in the payload and retry the job.'),

-- Postgres: postgres_ and the SQLSTATE. https://www.postgresql.org/docs/current/errcodes-appendix.html ----------------

('postgres_22001', 'PostgresError',
 'A text that the handler wrote is too long for its column.',
 'The column is a varchar of fewer characters than the data has.',
 'Shorten the text in the handler, or make the column a text. Then retry the job.'),

('postgres_22p02', 'PostgresError',
 'A value that the handler passed does not have the form of its type.',
 'Mostly an id that is no uuid or no number. The message has the value.',
 'Correct the payload or the handler. Then retry the job.'),

('postgres_23502', 'PostgresError',
 'A row that the handler wrote lacks a value.',
 'A column that is not null got none. The message names it.',
 'Let the handler write a value, or give the column a default. Then retry the job.'),

('postgres_23503', 'PostgresError',
 'A row that the handler wrote refers to a row that does not exist, or one that it deleted is referred to.',
 'The other row was deleted, or is inserted later. The message names the foreign key.',
 'Insert the missing row, or change the order of the handler. Then retry the job.'),

('postgres_23505', 'PostgresError',
 'A row that the handler inserted exists already.',
 'An earlier attempt or another writer inserted it. The message names the unique constraint.',
 'Make the insert of the handler repeatable (on conflict ... do nothing). Then retry the job.'),

('postgres_23514', 'PostgresError',
 'A row that the handler wrote breaks a check constraint.',
 'A value is outside of what the table allows. The message names the constraint.',
 'Correct the data or the handler. Then retry the job.'),

('postgres_40001', 'PostgresError',
 'The transaction met another one that changed the same rows.',
 'The handler uses repeatable read or serializable, where this is to be expected.',
 'Retry the job. If it comes often, make the transaction shorter or use read committed.'),

('postgres_40p01', 'PostgresError',
 'Postgres ended a deadlock by cancelling the transaction of the handler.',
 'The handler locks rows in another order than something that ran at the same time.',
 'Retry the job. If it comes often, lock rows in the same order everywhere.'),

('postgres_42501', 'PostgresError',
 'The role of the worker may not do what the handler asked for.',
 'A grant is missing, or row level security refuses the row.',
 'Grant the right to the role of the worker. Then retry the job.'),

('postgres_42703', 'PostgresError',
 'A column that the handler names does not exist.',
 'A migration of yours has not run, or the column was renamed.',
 'Run the migration, or correct the statement. Then retry the job.'),

('postgres_42883', 'PostgresError',
 'A function that the handler calls does not exist for these types.',
 'A migration or an extension is missing, an argument has another type, or the schema is not in search_path.',
 'Make the function, or correct the statement. Then retry the job.'),

('postgres_42p01', 'PostgresError',
 'A table that the handler names does not exist.',
 'A migration of yours has not run, the table was renamed, or its schema is not in search_path.',
 'Run the migration, or correct the statement. Then retry the job.'),

('postgres_53100', 'PostgresError',
 'The disk of Postgres is full.',
 'Tables, the write-ahead log or temporary files have filled it.',
 'Add disk. rowmill doctor says what holds back vacuum. Then retry what failed.'),

('postgres_53300', 'PostgresError',
 'Postgres has no connection left.',
 'All clients together open more than max_connections allows.',
 'Lower DATABASE_CONNECTIONS, end idle connections, or raise max_connections. Then retry what failed.'),

('postgres_55p03', 'PostgresError',
 'A lock was not free in time.',
 'Another transaction holds the row or the table. sql/monitor/long_transactions.sql shows the old ones.',
 'End that transaction. Then retry the job.'),

('postgres_57014', 'PostgresError',
 'Postgres cancelled a statement of the handler.',
 'It took longer than statement_timeout, or somebody cancelled it.',
 'Make the statement faster, often by an index, or raise statement_timeout of the role. Then retry the job.'),

('postgres_57p01', 'PostgresError',
 'Postgres ended the connection while the handler used it.',
 'A restart, a failover, or pg_terminate_backend.',
 'Retry what failed once Postgres is up.'),

('postgres_p0001', 'PostgresError',
 'A function or trigger raised an exception.',
 'The message has its words; it is most likely one of yours.',
 'Correct the data, the function or the handler. Then retry the job.'),

('postgres_*', 'PostgresError',
 'Postgres refused a statement of the handler.',
 'The end of the code is the SQLSTATE; the message has the words of Postgres.',
 'Look up the SQLSTATE in appendix A of the manual of Postgres. Correct the cause, then retry the job.'),

-- The network and the operating system, in lower case. https://nodejs.org/api/errors.html#common-system-errors --------

('econnrefused', 'NetworkError',
 'Nothing accepts connections at the address that the handler asked.',
 'The service is down, or its host or port is wrong.',
 'Start the service, or correct its address. Then retry the job.'),

('econnreset', 'NetworkError',
 'The far side closed the connection before it had answered.',
 'The service restarted, or a proxy in front of it closed the connection.',
 'Look at the log of the service and of the proxy. Then retry the job.'),

('epipe', 'NetworkError',
 'The far side closed the connection while the handler wrote to it.',
 'The service, or the program, ended or refused what it got.',
 'Look at the log of the service. Then retry the job.'),

('etimedout', 'NetworkError',
 'The connection was not made in time.',
 'The host does not answer: it is down, or a firewall drops the packets.',
 'Check the address and the firewall. Then retry the job.'),

('enotfound', 'NetworkError',
 'The name of the host does not exist.',
 'The address is misspelled, or its DNS record is missing.',
 'Correct the address or the DNS record. Then retry the job.'),

('eai_again', 'NetworkError',
 'The name of the host could not be looked up just now.',
 'The DNS server did not answer.',
 'Check the network and the DNS server of the host. Then retry the job.'),

('ehostunreach', 'NetworkError',
 'There is no way to the host.',
 'It is down, or a route or a firewall is wrong.',
 'Check the network of the worker and the address. Then retry the job.'),

('enoent', 'SystemError',
 'A file that the handler opened does not exist.',
 'The path is wrong, or the file was deleted while the job ran.',
 'Read the message for the path. Correct it or the handler, then retry the job.'),

('eacces', 'SystemError',
 'The user of the worker may not open a file.',
 'The file or its folder belongs to another user or has other rights.',
 'Give the user of the worker the right, then retry the job.'),

('enospc', 'SystemError',
 'A disk is full.',
 'The handler wrote to a disk that has no room left.',
 'Make room. Then retry the job.'),

('emfile', 'SystemError',
 'The worker has too many files and connections open.',
 'The limit of open files is low, or a handler does not close what it opens.',
 'Raise the limit (ulimit -n), or correct the handler. Then restart the worker and retry the job.'),

('err_*', 'SystemError',
 'Node refused a call of the handler.',
 'Mostly a fault in the handler. The code is Node''s, in lower case; the message has Node''s words.',
 'Read the message, and the stack in job_errors. Correct the handler, then retry the job.');
