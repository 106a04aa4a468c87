/** A message to a channel of Slack, by the names of its API: https://docs.slack.dev/reference/methods/chat.postMessage */
export type SlackMessage = {
  /** Its id or its name, or the id of a user. Without: SLACK_CHANNEL, or that of the incoming webhook. */
  channel?: string | undefined;
  /** In Slack's markup, in which `&`, `<` and `>` have a meaning: see `escaped`. */
  text: string;
  blocks?: unknown[] | undefined;
  attachments?: unknown[] | undefined;
  thread_ts?: string | undefined;
  username?: string | undefined;
  icon_emoji?: string | undefined;
};

/** So that a text cannot mention a whole channel. https://docs.slack.dev/messaging/formatting-message-text#escaping */
export const escaped = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
