/** The names that other systems have for kinds, for all ways in. A new one is a line. */
const aliases: Record<string, string> = {
  // Topics of a notification system.
  'notifications.email': 'notification.email',
  'notifications.sms': 'notification.sms',
  'notifications.whatsapp': 'notification.whatsapp',
  'notifications.push': 'notification.push',
  'notifications.slack': 'notification.slack',
  'notifications.webhook': 'notification.webhook',
  // <queue>.<name> of BullMQ.
  'notifications.send-email': 'notification.email',
  'notifications.send-sms': 'notification.sms',
  'notifications.send-push': 'notification.push',
  'notifications.send-slack': 'notification.slack',
  'notifications.send-webhook': 'notification.webhook',
  'video-processing.process-video': 'media.transcode',
  'social-publishing.publish-to-tiktok': 'social.publish',
  'social-publishing.publish-to-youtube': 'social.publish',
  'social-publishing.publish-to-instagram': 'social.publish',
  'social-publishing.publish-to-facebook': 'social.publish',
  'analytics-aggregation.collect-metrics': 'analytics.collect',
};

/** Queue and kind of a key such as `media.image`; undefined if it has no two parts. */
export function kindNamed(key: string): { queue: string; kind: string } | undefined {
  const name = Object.hasOwn(aliases, key) ? aliases[key]! : key;
  const dot = name.indexOf('.');
  return dot > 0 && dot < name.length - 1 ? { queue: name.slice(0, dot), kind: name.slice(dot + 1) } : undefined;
}

/** The queue that has the jobs of another system's queue. */
export function queueNamed(name: string): string {
  const [, kind = ''] = Object.entries(aliases).find(([alias]) => alias.startsWith(`${name}.`)) ?? [];
  return kindNamed(kind)?.queue ?? name;
}
