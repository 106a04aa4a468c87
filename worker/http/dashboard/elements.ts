import { html } from 'hono/html';
import type { HtmlEscapedString } from 'hono/utils/html';

/** HTML in which all data is escaped: made by the tag `html`, never by `raw`. */
export type Markup = HtmlEscapedString | Promise<HtmlEscapedString>;

// Small pieces that pages share: a time, a number, a state, an empty list.

/** A time as people say it. The script counts on; the title is exact. */
export function time(at: Date | null | undefined, otherwise = '–'): Markup | string {
  if (!at || Number.isNaN(at.getTime())) return otherwise;
  if (Math.abs(at.getTime()) >= 8.64e15) return at.getTime() > 0 ? 'never' : 'at once';
  const iso = at.toISOString();
  return html`<time datetime="${iso}" title="${iso}">${relative(at)}</time>`;
}

/** `12 s ago`, `in 5 min`. */
function relative(at: Date): string {
  const seconds = (Date.now() - at.getTime()) / 1_000;
  return seconds >= 0 ? `${duration(seconds)} ago` : `in ${duration(-seconds)}`;
}

/** `0.2 s`, `12 s`, `5 min`, `3 h`, `2 d`. */
export function duration(seconds: number): string {
  const whole = Math.max(0, seconds);
  if (whole < 10) return `${whole < 0.05 ? 0 : whole.toFixed(1)} s`;
  if (whole < 60) return `${Math.floor(whole)} s`;
  if (whole < 3_600) return `${Math.floor(whole / 60)} min`;
  if (whole < 172_800) return `${Math.floor(whole / 3_600)} h`;
  return `${Math.floor(whole / 86_400)} d`;
}

/** What took so many milliseconds: `4 ms`, and from a second on as `duration` says it. */
export const elapsed = (ms: number): string =>
  ms < 999.5 ? `${Math.round(Math.max(0, ms))} ms` : duration(ms / 1_000);

/** `61,340`. */
export const number = (value: number | bigint): string => value.toLocaleString('en');

/** `3 jobs`, `1 job`. */
export const count = (many: number, one: string): string => `${number(many)} ${one}${many === 1 ? '' : 's'}`;

/** `3 jobs wait`, `1 job waits`. */
export const jobsWait = (jobs: number): string => (jobs === 1 ? '1 job waits' : `${number(jobs)} jobs wait`);

/** `123 kB`. */
export function size(bytes: number): string {
  if (bytes < 1_000) return `${bytes} B`;
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(0)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

const states = ['pending', 'processing', 'completed', 'failed', 'cancelled'];

/** Told by word, colour and shape. */
export const state = (status: string): Markup =>
  html`<span class="state ${states.includes(status) ? status : ''}">${status}</span>`;

/** What a list says when it is empty: what would be here, and the SQL to try. */
export const empty = (what: Markup | string, sql?: string): Markup =>
  html`<div class="empty">
    <p>${what}</p>
    ${sql === undefined ? '' : html`<pre tabindex="0"><code>${sql}</code></pre>`}
  </div>`;
