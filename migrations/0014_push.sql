-- Push notifications: what the errors of their providers mean.
--
-- The tables are those of 0011: push_tokens has the devices of each user.
--
-- Locks: none. Undo: delete the rows.

insert into error_codes (code, family, what, cause, solution) values

('push_sender_mismatch', 'NotificationError',
 'The token of the device belongs to another Firebase project.',
 'FIREBASE_SERVICE_ACCOUNT is of another project than the app was built with.',
 'Use the service account of the app''s project, and retry the job; or delete the token.'),

('fcm_apns_unauthorized', 'NotificationError',
 'Apple, or a browser''s push service, does not let Firebase in.',
 'The APNs key in Firebase is wrong or was revoked, or the web push certificate is.',
 'Upload the APNs key again: Firebase, Project settings, Cloud Messaging. Then retry the job.'),

('fcm_account_unusable', 'NotificationError',
 'FIREBASE_SERVICE_ACCOUNT is no key of a service account.',
 'Its file is missing, or the key was cut off when it was copied.',
 'Set it to the JSON of the key, or to the path of its file, and restart the worker.'),

('fcm_failed', 'NotificationError',
 'Firebase Cloud Messaging could not send the push, for a reason of its own.',
 'An error within Firebase, mostly for a moment.',
 'Look at the status page of Firebase. Then retry the job.');
