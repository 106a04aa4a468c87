-- Adds notifications, one on each channel; use the statement that you need. The payloads are those of the systems that
-- sent these messages before Rowmill: a message with its words, a template with its variables, and an event. Each
-- channel reads all three. Without a provider, messages become files in .data/outbox/. The recipients are examples.

-- An email. Each address in `data` is a button.
insert into notification_jobs (kind, payload)
values ('email', '{"type": "email", "userId": "user-uuid", "email": "user@example.com", "title": "Password Reset",
                   "body": "Click the link below to reset your password",
                   "data": {"resetLink": "https://app.example.com/reset/token123", "expiresIn": "1 hour"}}')
returning id;

-- An email by a template.
insert into notification_jobs (kind, payload)
values ('email', '{"type": "email", "template": "email-welcome",
                   "templateData": {"name": "John Doe", "dashboardUrl": "https://app.example.com/dashboard"},
                   "email": {"to": "user@example.com", "subject": "Welcome"}}')
returning id;

-- An event. A second insert with the same message_id sends nothing: its result has "repeated": true.
insert into notification_jobs (kind, payload)
values ('email', '{"notification_id": "notif_abc123", "message_id": "msg_unique_id", "target_user_id": "user_123",
                   "channel": "email", "template_id": "tmpl_welcome",
                   "payload": {"user_name": "John Doe", "email": "john@example.com"},
                   "priority": "normal", "metadata": {"source": "signup_flow"}}')
returning id;

-- A login code by SMS: before other messages, also in quiet hours, and never after ten minutes.
insert into notification_jobs (kind, payload)
values ('sms', '{"type": "sms", "userId": "user-uuid", "phoneNumber": "+14155550100", "title": "OTP Code",
                 "body": "Your verification code is: 123456", "priority": "critical", "ttl": 600}')
returning id;

-- WhatsApp. Outside the 24 hours after the recipient's last message, Twilio must have the template: its ContentSid as
-- template_id, or a name in TWILIO_CONTENT_TEMPLATES.
insert into notification_jobs (kind, payload)
values ('whatsapp', '{"type": "whatsapp", "phoneNumber": "+14155550100", "template": "welcome",
                      "templateData": {"name": "John Doe"}}')
returning id;

-- A device of a user, as your API registers it when the app starts.
insert into push_tokens (token_hash, user_id, token, platform)
select encode(sha256(convert_to(token, 'UTF8')), 'hex'), 'user1', token, 'android'
  from (values ('firebase-token')) as device (token)
    on conflict (token_hash) do update set user_id = excluded.user_id, last_seen_at = now(), invalid_at = null;

-- A push to one device. Without fcmToken it goes to all devices of the user: the rows of push_tokens.
insert into notification_jobs (kind, payload)
values ('push', '{"type": "push", "userId": "user-uuid", "fcmToken": "firebase-token", "title": "New Message",
                  "body": "John: Hey, how are you?",
                  "data": {"type": "message", "chatId": "chat-uuid", "senderId": "sender-uuid"}}')
returning id;

-- The same push to many users, with one job. Its result has successCount and failureCount.
insert into notification_jobs (kind, payload)
values ('batch', '{"userIds": ["user1", "user2", "user3"], "title": "Group Message",
                   "body": "New message in Tech Team", "data": {"groupId": "group-123", "type": "group_message"}}')
returning id;

-- A message to a channel of Slack.
insert into notification_jobs (kind, payload)
values ('slack', '{"type": "slack", "slack": {"channel": "#ops"}, "title": "Deployed", "body": "Version 42 is live"}')
returning id;

-- A webhook. In place of a URL, "endpoint" names a row of webhook_endpoints, which has a URL and a secret of its own.
insert into notification_jobs (kind, payload)
values ('webhook', '{"type": "webhook", "webhook": {"url": "https://example.com/hooks", "event": "order.shipped"},
                     "data": {"order": 17}}')
returning id;
