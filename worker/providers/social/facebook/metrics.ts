import type { Config } from '../../../base/config/config.ts';
import { numberIn, objectIn, wordIn, type Json } from '../exchange.ts';
import { insightsOf, pagesOf, readGraph, type Graph } from '../meta-insights.ts';
import { countIn, timeIn, type Metrics, type OfPost } from '../metrics.ts';
import { service } from './service.ts';

const ofPost =
  'id,message,created_time,permalink_url,shares,reactions.summary(true).limit(0),comments.summary(true).limit(0)';
/** Impressions ended in 2025. https://developers.facebook.com/docs/graph-api/reference/insights */
const names = { post_total_media_view_unique: 'reach', post_media_view: 'views', post_clicks: 'clicks' };

export function createFacebookMetrics({ social: { facebook, timeoutMs } }: Pick<Config, 'social'>): Metrics {
  const graph: Graph = { base: `${facebook.url}/${facebook.version}`, service, timeoutMs };
  const read = async (token: string, post: Json, signal: AbortSignal): Promise<OfPost> => {
    const id = wordIn(post, 'id') ?? '';
    const total = (name: string) => countIn(numberIn(objectIn(objectIn(post, name), 'summary'), 'total_count'));
    return {
      external_id: id,
      published_at: timeIn(wordIn(post, 'created_time')),
      title: wordIn(post, 'message'),
      url: wordIn(post, 'permalink_url'),
      readings: {
        likes: total('reactions'),
        comments: total('comments'),
        shares: countIn(numberIn(objectIn(post, 'shares'), 'count')),
        ...(await insightsOf(graph, id, token, names, signal)),
      },
    };
  };
  return {
    async account(token, { signal }) {
      const page = await readGraph(graph, 'me', token, { fields: 'id,name,followers_count' }, signal);
      const readings = { followers: countIn(numberIn(page, 'followers_count')) };
      return { external_id: wordIn(page, 'id') ?? '', name: wordIn(page, 'name'), readings };
    },
    async *posts(token, { signal }) {
      for await (const page of pagesOf(graph, 'me/posts', token, { fields: ofPost, limit: '50' }, signal)) {
        const found: OfPost[] = [];
        for (const post of page) found.push(await read(token, post, signal));
        yield found;
      }
    },
    async post(token, id, { signal }) {
      return read(token, await readGraph(graph, encodeURIComponent(id), token, { fields: ofPost }, signal), signal);
    },
  };
}
