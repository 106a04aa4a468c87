-- What providers of phone numbers say about a message and its recipient: error codes.
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
 'Name a template: template_id, with its ContentSid in TWILIO_CONTENT_TEMPLATES. Then add the job again.');
