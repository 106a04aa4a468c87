import { DeploymentError, PermanentError, RetryableError, UnknownOutcome } from '../../base/errors.ts';
import { statusError, type Service } from '../../base/http/fetch.ts';
import type { Answer } from '../../base/http/request.ts';

const wrongKey = anyOf(`
  invalid_auth not_authed account_inactive token_revoked token_expired missing_scope no_permission access_denied
  not_allowed_token_type org_login_required ekm_access_denied enterprise_is_restricted team_access_not_granted
  two_factor_setup_required team_not_found team_disabled`);
const wrongChannel = anyOf(`
  channel_not_found is_archived not_in_channel user_not_found users_not_found user_disabled cannot_dm_bot
  channel_type_not_supported messages_tab_disabled`);
const wrongMessage = anyOf(`
  no_text msg_too_long msg_blocks_too_long invalid_blocks invalid_blocks_format invalid_attachments invalid_arguments
  invalid_arg_name invalid_array_arg invalid_charset invalid_form_data invalid_json invalid_post_type
  missing_post_type json_not_object too_many_attachments too_many_contact_cards attachment_payload_limit_exceeded
  restricted_action restricted_action_read_only_channel restricted_action_thread_only_channel
  restricted_action_non_threadable_channel restricted_action_thread_locked as_user_not_supported
  cannot_reply_to_message markdown_text_conflict slack_connect_file_link_sharing_blocked
  slack_connect_canvas_sharing_blocked slack_connect_lists_sharing_blocked`);
const passing = anyOf('service_unavailable request_timeout team_added_to_org accesslimited');

/**
 * What an error of chat.postMessage means: the word in an answer that says `ok: false`.
 * https://docs.slack.dev/reference/methods/chat.postMessage#errors
 */
export function judgeWord(word: string, service: Service, { headers }: Answer): Error {
  const said = `Slack answered ${word}`;
  if (/^rate_?limited$/.test(word)) return statusError(service, 429, headers['retry-after']);
  if (word === 'message_limit_exceeded') return statusError(service, 429);
  // "It's possible some aspect of the operation succeeded before the error was raised."
  if (/^(internal|fatal)_error$/.test(word)) return new UnknownOutcome(said);
  if (passing.has(word)) return new RetryableError('slack_unavailable', said);
  if (wrongKey.has(word))
    return new DeploymentError('slack', 'slack_unauthorized', `${said}: check ${service.settings.secret}`);
  if (wrongChannel.has(word))
    return new PermanentError('invalid_recipient', `${said}: check the channel, and invite the bot to it`);
  if (wrongMessage.has(word)) return new PermanentError('message_refused', `${said}: it does not take the message`);
  return new RetryableError('slack_refused', said);
}

/** What a status means that is no success. Only Slack's own word is quoted of the answer. */
export function judgeStatus(service: Service, { status, headers, text }: Answer): Error {
  const said = ['Slack answered', status, wordOf(text)].filter(Boolean).join(' ');
  // What is behind the gateway may have taken the message.
  if (status === 504) return new UnknownOutcome(said);
  if (status === 429 || status >= 500) return statusError(service, status, headers['retry-after']);
  if (status === 400) return new PermanentError('message_refused', `${said}: it does not take the message`);
  const { address, secret } = service.settings;
  if ([401, 403, 404, 410].includes(status))
    return new DeploymentError('slack', 'slack_unauthorized', `${said}: check ${secret}`);
  return new DeploymentError('slack', 'slack_unavailable', `${said}: check ${address}`);
}

/** Of an incoming webhook, which answers with a word alone. */
const wordOf = (text: string) => (/^[a-z_]{1,60}$/.test(text.trim()) ? text.trim() : '');

function anyOf(words: string): Set<string> {
  return new Set(words.trim().split(/\s+/));
}
