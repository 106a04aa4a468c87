/** An alert as a message tells it: a row of alerts. */
export type Telling = {
  id: number;
  condition: string;
  subject: string;
  what: string;
  cause: string | null;
  solution: string;
  query: string;
  count: number;
  opened_at: Date;
  resolved_at: Date | null;
  /** `open`: people know of it already. */
  state: 'opened' | 'open' | 'resolved';
};

/** The end of a longer sentence is left out. */
const longestTitle = 200;
const longestWhat = 500;

/** As many are told in full. A provider that is down may fail jobs of each kind. */
const mostInFull = 20;

/**
 * What a message says: its words for people, and an event for programs. `event.text` is what Slack and those like it
 * show of a webhook.
 * @param publicUrl where the dashboard is
 */
export function messageFor(alerts: Telling[], publicUrl: string | undefined, now = new Date()) {
  const links = publicUrl === undefined ? {} : { dashboard: `${publicUrl}/dashboard/alerts` };
  const full = alerts.slice(0, mostInFull);
  const more = alerts.length - full.length;
  const title = titleOf(alerts);
  const paragraphs = full.map(paragraphOf);
  if (more > 0) paragraphs.push(`And ${more} more: rowmill alerts list`);
  const text = paragraphs.join('\n\n');
  return {
    title,
    text,
    links,
    event: {
      type: 'rowmill.alert',
      timestamp: now.toISOString(),
      text: [title, text, ...Object.values(links)].join('\n\n'),
      data: { alerts: full.map(eventOf), more, ...links },
    },
  };
}

function titleOf(alerts: Telling[]): string {
  const [first] = alerts;
  if (alerts.length === 1)
    return `Rowmill: ${first!.state === 'resolved' ? 'resolved: ' : ''}${first!.what}`.slice(0, longestTitle);
  const words = { opened: 'new', open: 'still open', resolved: 'resolved' };
  const parts = Object.entries(words).flatMap(([state, word]) => {
    const many = alerts.filter((alert) => alert.state === state).length;
    return many > 0 ? [`${many} ${word}`] : [];
  });
  return `Rowmill: ${alerts.length} alerts: ${parts.join(', ')}`;
}

function paragraphOf({ id, cause, solution, query, opened_at, resolved_at, state, ...alert }: Telling): string {
  const what = alert.what.slice(0, longestWhat);
  const since = `since ${minuteOf(opened_at)}`;
  if (state === 'resolved') return `RESOLVED (${since} until ${minuteOf(resolved_at!)}): ${what}`;
  return [
    `${state === 'opened' ? 'NEW' : 'STILL OPEN'} (${since}): ${what}.`,
    ...(cause === null ? [] : [`Cause: ${cause}`]),
    `Solution: ${solution}`,
    `SQL: ${query}`,
    `Silence: rowmill alerts silence ${id} --for 2h`,
  ].join('\n');
}

const minuteOf = (time: Date) => `${time.toISOString().slice(0, 16).replace('T', ' ')} UTC`;

const eventOf = ({ opened_at, resolved_at, ...alert }: Telling) => ({
  ...alert,
  opened_at: opened_at.toISOString(),
  resolved_at: resolved_at?.toISOString() ?? null,
});
