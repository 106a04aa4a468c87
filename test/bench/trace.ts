import { PerformanceObserver } from 'node:perf_hooks';
import pg from 'pg';
import { now } from './clock.ts';

// What happens in a worker's process while it waits for jobs: its statements, the notifications that it hears, and
// garbage collection.

export type Step = { at: number; what: string };
export type Trace = {
  /** The steps from one time to another, on the shared clock. */
  between(from: number, to: number): Step[];
};

/** Records from now on, for the life of the process. */
export function startTrace(): Trace {
  const steps: Step[] = [];
  const note = (what: string, at = now()) => void steps.push({ at, what });
  watchClients(note);
  watchGarbage(note);
  return {
    between: (from, to) => steps.filter(({ at }) => at >= from && at <= to).toSorted((a, b) => a.at - b.at),
  };
}

function watchClients(note: (what: string) => void): void {
  const client = pg.Client.prototype as unknown as {
    query: (...given: any[]) => unknown;
    emit: (event: string, ...given: any[]) => boolean;
  };
  const { query, emit } = client;
  client.query = function (...given) {
    const name = nameOf(given[0]);
    note(`sent ${name}`);
    const answered = () => note(`answered ${name}`);
    const last = given.length - 1;
    const callback: unknown = given[last];
    if (typeof callback === 'function')
      given[last] = (...answer: unknown[]) => {
        answered();
        Reflect.apply(callback, undefined, answer);
      };
    const answer = Reflect.apply(query, this, given);
    if (answer instanceof Promise) answer.then(answered, answered);
    return answer;
  };
  client.emit = function (event, ...given) {
    if (event === 'notification') note(`heard ${(given[0] as pg.Notification).payload?.slice(0, 40)}`);
    return Reflect.apply(emit, this, [event, ...given]);
  };
}

/** The name under which it is prepared, without what makes it unique; or the text's first words. */
function nameOf(statement: unknown): string {
  const { name, text } = typeof statement === 'string' ? { text: statement } : (statement as pg.QueryConfig);
  return name?.replace(/_[0-9a-f]{12}$/, '') ?? text.trim().split(/\s+/).slice(0, 4).join(' ');
}

function watchGarbage(note: (what: string, at: number) => void): void {
  const offset = now() - performance.now();
  new PerformanceObserver((list) => {
    for (const { startTime, duration } of list.getEntries())
      note(`garbage collection of ${duration.toFixed(1)} ms`, offset + startTime);
  }).observe({ entryTypes: ['gc'] });
}
