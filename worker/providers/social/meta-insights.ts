import { PermanentError } from '../../base/errors.ts';
import type { Service } from '../../base/http/fetch.ts';
import { exchange, formOf, jsonIn, listIn, numberIn, objectIn, wordIn, type Json } from './exchange.ts';
import { judgeMeta } from './meta-errors.ts';
import { countIn, type Readings } from './metrics.ts';

/** Reading the Graph API: https://developers.facebook.com/docs/graph-api/results */
export type Graph = { base: string; service: Service; timeoutMs: number };

export async function readGraph(
  { base, service, timeoutMs }: Graph,
  path: string,
  token: string,
  fields: Record<string, string>,
  signal: AbortSignal,
): Promise<Json> {
  // The token goes in a header, because addresses are written down on the way.
  const headers = { authorization: `Bearer ${token}` };
  const answer = await exchange(new URL(`${base}/${path}?${formOf(fields)}`), { service, headers, timeoutMs, signal });
  if (answer.status !== 200) throw judgeMeta(answer, service.name);
  return jsonIn(answer);
}

/** Pages of a list, by their cursors. */
export async function* pagesOf(
  graph: Graph,
  path: string,
  token: string,
  fields: Record<string, string>,
  signal: AbortSignal,
): AsyncGenerator<Json[]> {
  for (let after: string | undefined; ;) {
    const page = await readGraph(graph, path, token, { ...fields, ...(after ? { after } : {}) }, signal);
    yield listIn(page, 'data');
    const paging = objectIn(page, 'paging');
    const next = wordIn(objectIn(paging, 'cursors'), 'after');
    if (wordIn(paging, 'next') === undefined || next === undefined || next === after) return;
    after = next;
  }
}

/**
 * Which metrics there are depends on the sort of post, and changes with the version: if Meta refuses the list, each is
 * asked for alone, and one that is refused is null. An empty answer is null, too, and not 0.
 * @param names ours by theirs
 */
export async function insightsOf(
  graph: Graph,
  id: string,
  token: string,
  names: Record<string, string>,
  signal: AbortSignal,
): Promise<Readings> {
  const ask = async (metrics: string[]): Promise<Readings> => {
    const fields = { metric: metrics.join(',') };
    const rows = listIn(await readGraph(graph, `${encodeURIComponent(id)}/insights`, token, fields, signal), 'data');
    return Object.fromEntries(
      metrics.map((metric) => {
        const row = rows.find((each) => wordIn(each, 'name') === metric) ?? {};
        const value = listIn(row, 'values')[0] ?? objectIn(row, 'total_value');
        return [names[metric]!, countIn(numberIn(value, 'value'))];
      }),
    );
  };
  const all = Object.keys(names);
  try {
    return await ask(all);
  } catch (error) {
    if (!(error instanceof PermanentError)) throw error;
  }
  const readings: Readings = {};
  for (const metric of all)
    Object.assign(
      readings,
      await ask([metric]).catch((error: unknown) => {
        if (!(error instanceof PermanentError)) throw error;
        return { [names[metric]!]: null };
      }),
    );
  return readings;
}
