-- What providers say of a message and its recipient, at once or in a later report: error codes.
--
-- Locks: none that anybody waits for. Undo: delete the rows.

insert into error_codes (code, family, what, cause, solution) values

('recipient_opted_out', 'NotificationError',
 'The recipient answered STOP to an earlier message, and must not be written to.',
 'The provider keeps a list of such numbers. The recipient is in suppressions now.',
 'Nothing. If the recipient answers START, the provider sends again: then delete the row of suppressions.'),

('template_required', 'NotificationError',
 'WhatsApp takes this message only as an approved template.',
 'More than 24 hours have passed since the recipient last wrote.',
 'Name a template: template_id, with its ContentSid in TWILIO_CONTENT_TEMPLATES. Then add the job again.'),

('message_undelivered', 'NotificationError',
 'The provider took the message, and could not deliver it. Its delivery says so; the job is completed.',
 'The recipient cannot be reached, or a network on the way refused it. notification_events has the code.',
 'Tell the recipient in another way. A new job with the same message_id sends it again.');
