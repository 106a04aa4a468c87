import type { Config } from '../../../base/config/config.ts';
import { numberIn, wordIn, type Json } from '../exchange.ts';
import { insightsOf, pagesOf, readGraph, type Graph } from '../meta-insights.ts';
import { countIn, timeIn, type Metrics, type OfPost } from '../metrics.ts';
import { service } from './service.ts';

const ofPost = 'id,caption,timestamp,permalink';
/** plays and impressions ended in April 2025. https://developers.facebook.com/docs/instagram-platform/insights */
const names = {
  views: 'views',
  reach: 'reach',
  likes: 'likes',
  comments: 'comments',
  shares: 'shares',
  saved: 'saves',
};

export function createInstagramMetrics({ social: { instagram, timeoutMs } }: Pick<Config, 'social'>): Metrics {
  const graph: Graph = { base: `${instagram.url}/${instagram.version}`, service, timeoutMs };
  const read = async (token: string, media: Json, signal: AbortSignal): Promise<OfPost> => {
    const id = wordIn(media, 'id') ?? '';
    return {
      external_id: id,
      published_at: timeIn(wordIn(media, 'timestamp')),
      title: wordIn(media, 'caption'),
      url: wordIn(media, 'permalink'),
      readings: await insightsOf(graph, id, token, names, signal),
    };
  };
  return {
    async account(token, { signal }) {
      const fields = { fields: 'user_id,username,followers_count,media_count' };
      const me = await readGraph(graph, 'me', token, fields, signal);
      const readings = {
        followers: countIn(numberIn(me, 'followers_count')),
        posts: countIn(numberIn(me, 'media_count')),
      };
      return { external_id: wordIn(me, 'user_id') ?? '', name: wordIn(me, 'username'), readings };
    },
    async *posts(token, { signal }) {
      for await (const page of pagesOf(graph, 'me/media', token, { fields: ofPost, limit: '50' }, signal)) {
        const found: OfPost[] = [];
        for (const media of page) found.push(await read(token, media, signal));
        yield found;
      }
    },
    async post(token, id, { signal }) {
      const media = await readGraph(graph, encodeURIComponent(id), token, { fields: ofPost }, signal);
      return read(token, media, signal);
    },
  };
}
