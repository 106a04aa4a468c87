import { html } from 'hono/html';
import { listJobs } from '../../../queue/client/operate.ts';
import { count, empty, state, time } from '../elements.ts';
import type { House, Http } from '../house.ts';
import { linkTo, livePart, page, type Markup } from '../layout.ts';

/** `jobs`: finds jobs. */
export function jobsPage(http: Http, { db, live }: House): void {
  const list = async (up: string): Promise<Markup> => {
    const jobs = await listJobs(db, { limit: 50 });
    if (jobs.length === 0)
      return empty(
        'No job was ever added here.',
        `insert into media_jobs (kind, payload) values ('image', '{"s3Key": "a.jpg"}')`,
      );
    return html`<section class="sheet">
      <h2>${count(jobs.length, 'job')}</h2>
      <div class="wide">
        <table>
          <thead>
            <tr>
              <th>Job</th>
              <th>State</th>
              <th class="num">When</th>
            </tr>
          </thead>
          <tbody>
            ${jobs.map(
              (job) =>
                html`<tr>
                  <td>
                    <a class="name" href="${up}jobs/${job.id}">${job.queue}.${job.kind}</a>
                    <span class="soft num">${job.id}</span>
                  </td>
                  <td>${state(job.status)}</td>
                  <td class="num soft">${time(job.completed_at ?? job.started_at ?? job.created_at)}</td>
                </tr>`,
            )}
          </tbody>
        </table>
      </div>
    </section>`;
  };
  http.get('/jobs', async (context) =>
    page(context, {
      title: 'Jobs',
      current: 'jobs',
      body: livePart(context, 'live/jobs', await list(linkTo(context, ''))),
    }),
  );
  http.get('/live/jobs', (context) => live.stream('jobs', () => list(''), context.req.raw.signal));
}
