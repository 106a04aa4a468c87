import { burnDown, interleave, type Bench } from './measure.ts';
import { atLeast, median, type Result } from './result.ts';
import * as rowmill from './tools/rowmill.ts';

/** A difference of two per cent needs more runs than others; one is enough to see that it runs. */
const runsOf = (runs: number) => (runs > 1 ? runs * 5 : 1);

/** Jobs a second in bulk with what `rowmill start` observes, metrics and traces without an SDK, against without. */
export async function observer({ server, runs, jobs }: Bench): Promise<Result[]> {
  const rates: Record<'observed' | 'unobserved', number[]> = { observed: [], unobserved: [] };
  const run = async (name: keyof typeof rates) => {
    const queue = await rowmill.create(server);
    await queue.insert(jobs);
    rates[name].push(await burnDown(queue, jobs, { observed: name === 'observed' }));
    await queue.close();
  };
  await interleave(runsOf(runs), { observed: () => run('observed'), unobserved: () => run('unobserved') });
  const figures = { ours: median(rates.observed), anchor: median(rates.unobserved), unit: 'jobs/s' };
  return [atLeast(0.98, 'observer, bulk with metrics and traces, against without', figures)];
}
