import { html } from 'hono/html';
import { count, duration, elapsed, time } from './elements.ts';
import type { Attempt, JobRow, ReadJob } from './job-row.ts';
import type { Markup } from './layout.ts';
import { quotedWord } from './search.ts';

// A job's life as a list: inserted, due, attempts, and how it ended.

/** @param up leads from the page to the dashboard */
export function life({ job, attempts, explained }: ReadJob, up: string): Markup {
  const since = (at: Date) => (at.getTime() - job.created_at.getTime()) / 1_000;
  const at = (moment: Date | null) => (moment ? `+${duration(since(moment))}` : '');
  const wasDue = job.run_at.getTime() > job.created_at.getTime() + 1_000;
  const earlier = (attempts[0]?.attempt ?? job.attempt) - 1;
  const items = [
    item(html`${time(job.created_at)}`, '', html`inserted ${job.dedupe_key ? keyOf(job.dedupe_key) : ''}`),
    ...(job.attempt === 0 && wasDue ? [item(at(job.run_at), '', html`due ${time(job.run_at)}`)] : []),
    ...(earlier > 0 && attempts.length >= 50
      ? [item('', '', html`<span class="soft">${count(earlier, 'earlier attempt')}</span>`)]
      : []),
    ...attempts.map((attempt, n) => attemptItem(attempt, at, isLastFailure(job, attempts, n), job, up)),
    ...ending(job, attempts, at, explained),
  ];
  const lived = (job.completed_at?.getTime() ?? Date.now()) - job.created_at.getTime();
  return html`<section class="sheet">
    <h2>
      Life <small>${job.completed_at ? `${duration(lived / 1_000)} in all` : `for ${duration(lived / 1_000)}`}</small>
    </h2>
    <ol class="life">
      ${items}
    </ol>
  </section>`;
}

const item = (at: Markup | string, mark: string, words: Markup): Markup =>
  html`<li>
    <span class="at">${at}</span><i class="${mark}"></i>
    <div>${words}</div>
  </li>`;

const keyOf = (key: string): Markup =>
  html`<span class="soft">with the key <span class="mono">${key.slice(0, 120)}</span></span>`;

const bar = (percent: number): Markup =>
  html`<div><progress max="100" value="${percent}" aria-label="Progress"></progress> ${percent} %</div>`;

const isLastFailure = ({ status, attempt }: JobRow, attempts: Attempt[], n: number) =>
  status === 'failed' && n === attempts.length - 1 && attempts[n]!.attempt === attempt;

function attemptItem(
  attempt: Attempt,
  at: (moment: Date | null) => string,
  last: boolean,
  job: JobRow,
  up: string,
): Markup {
  const { started_at, failed_at, host, worker, cause, solution, stack, error_code } = attempt;
  const took = started_at ? html`<span class="soft">${elapsed(failed_at.getTime() - started_at.getTime())}</span>` : '';
  const on = host ?? worker?.slice(0, 8);
  const like = `queue:${job.queue} state:failed error:${quotedWord(error_code)}`;
  const more = `${up}jobs?${new URLSearchParams({ q: like }).toString()}`;
  return item(
    at(started_at ?? failed_at),
    last ? 'bad' : 'run',
    html`attempt ${attempt.attempt} ${on ? html`<span class="soft">on ${on}</span>` : ''}
      ${took}${last ? html` · <b>failed for good</b>` : ''}
      <div class="cause">
        <b>${error_code}</b> ${attempt.error}
        ${
          cause || solution
            ? html`<dl>
                ${
                  cause
                    ? html`<dt>cause</dt>
                        <dd>${cause}</dd>`
                    : ''
                }${
                  solution
                    ? html`<dt>solution</dt>
                        <dd>${solution}</dd>`
                    : ''
                }
              </dl>`
            : ''
        }
        ${last ? html`<p><a href="${more}">More like this</a></p>` : ''}
        ${
          stack
            ? html`<details>
                <summary>Where in the code</summary>
                <pre tabindex="0">${stack}</pre>
              </details>`
            : ''
        }
      </div>`,
  );
}

function ending(
  job: JobRow,
  attempts: Attempt[],
  at: (moment: Date | null) => string,
  explained: ReadJob['explained'],
): Markup[] {
  const { status, attempt, progress, started_at, completed_at, run_at, error_code, error } = job;
  switch (status) {
    case 'pending':
      if (attempt === 0) return [];
      return [item(at(run_at), '', html`next attempt ${run_at.getTime() > Date.now() ? time(run_at) : 'is due'}`)];
    case 'processing':
      return [
        item(
          at(started_at),
          'run',
          html`attempt ${attempt} runs ${job.worker ? html`<span class="soft">on ${job.worker}</span>` : ''}, started
          ${time(started_at)} ${progress === null ? '' : bar(progress)}
          ${job.waits ? html`<div class="late">waits ${job.waits}</div>` : ''}`,
        ),
      ];
    case 'completed': {
      const took = started_at && completed_at ? ` in ${elapsed(completed_at.getTime() - started_at.getTime())}` : '';
      return [
        ...(started_at ? [item(at(started_at), 'run', html`attempt ${attempt} started`)] : []),
        item(at(completed_at), 'ok', html`completed<span class="soft">${took}</span>`),
      ];
    }
    case 'failed':
      if (attempts.at(-1)?.attempt === attempt) return [];
      return [
        item(
          at(completed_at),
          'bad',
          html`failed
            <div class="cause">
              <b>${error_code}</b> ${error}${
                explained
                  ? html`<dl>
                      <dt>cause</dt>
                      <dd>${explained.cause}</dd>
                      <dt>solution</dt>
                      <dd>${explained.solution}</dd>
                    </dl>`
                  : ''
              }
            </div>`,
        ),
      ];
    case 'cancelled':
      return [
        item(
          at(completed_at),
          '',
          html`cancelled ${error_code ? html`<span class="soft">${error_code}: ${error}</span>` : ''}`,
        ),
      ];
  }
}
