import type { Answer } from '../../base/http/request.ts';
import { isObject, numberIn, type Json } from './exchange.ts';

/**
 * What Meta says of the limits in the headers of each answer: percent of each, and when they are free again.
 * https://developers.facebook.com/docs/graph-api/overview/rate-limiting
 */

type Usage = { percent: number; scope: 'account' | 'app'; regainMs: number };

const percents = ['call_count', 'total_time', 'total_cputime'];
const minute = 60_000;

/** Each entry that the headers have. Whatever their form is, this does not throw. */
function usagesIn({ headers }: Pick<Answer, 'headers'>): Usage[] {
  const app = [parsed(headers['x-app-usage'])].filter(isObject).map((entry) => usageOf(entry, 'app'));
  const business = parsed(headers['x-business-use-case-usage']);
  const entries = isObject(business) ? Object.values(business).flat().filter(isObject) : [];
  return [...app, ...entries.map((entry) => usageOf(entry, 'account'))];
}

const usageOf = (entry: Json, scope: Usage['scope']): Usage => ({
  percent: Math.max(0, ...percents.map((name) => numberIn(entry, name) ?? 0)),
  scope,
  // In minutes.
  regainMs: (numberIn(entry, 'estimated_time_to_regain_access') ?? 0) * minute,
});

function parsed(header: string | string[] | undefined): unknown {
  try {
    return JSON.parse(Array.isArray(header) ? header[0]! : (header ?? ''));
  } catch {
    return undefined;
  }
}

/** How long until the limit that was met is free again, if Meta says so. */
export function regainMs(answer: Pick<Answer, 'headers'>): number | undefined {
  const longest = Math.max(0, ...usagesIn(answer).map((usage) => usage.regainMs));
  return longest > 0 ? Math.min(longest, 86_400_000) : undefined;
}

/** The limit that is nearly used up, so that the next posts wait before Meta refuses them. */
export function nearlyUsed(answer: Pick<Answer, 'headers'>, mostPercent: number): Usage | undefined {
  const [most] = usagesIn(answer).toSorted((a, b) => b.percent - a.percent);
  return most && most.percent >= mostPercent ? { ...most, regainMs: most.regainMs || 5 * minute } : undefined;
}
