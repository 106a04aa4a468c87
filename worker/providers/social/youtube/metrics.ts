import type { Config } from '../../../base/config/config.ts';
import { ReconnectNeeded } from '../errors.ts';
import { exchange, formOf, jsonIn, listIn, numberIn, objectIn, wordIn, type Json } from '../exchange.ts';
import { countIn, timeIn, type Metrics, type OfPost } from '../metrics.ts';
import { judgeYouTube } from './errors.ts';
import { service } from './service.ts';

type Fields = Record<string, string | number | undefined>;

/** Counters since a video was published. https://developers.google.com/youtube/v3/docs/videos#statistics */
export function createYouTubeMetrics({ social: { youtube, timeoutMs } }: Pick<Config, 'social'>): Metrics {
  const ask = async (path: string, token: string, fields: Fields, signal: AbortSignal): Promise<Json> => {
    const url = new URL(`${youtube.url}/youtube/v3/${path}?${formOf(fields)}`);
    const answer = await exchange(url, { service, headers: { authorization: `Bearer ${token}` }, timeoutMs, signal });
    if (answer.status !== 200) throw judgeYouTube(answer);
    return jsonIn(answer);
  };
  const channelOf = async (token: string, signal: AbortSignal): Promise<Json> => {
    const found = await ask('channels', token, { part: 'snippet,statistics,contentDetails', mine: 'true' }, signal);
    const [channel] = listIn(found, 'items');
    if (!channel) throw new ReconnectNeeded('YouTube: this user has no channel');
    return channel;
  };
  const videos = async (token: string, ids: string[], signal: AbortSignal): Promise<OfPost[]> =>
    ids.length === 0
      ? []
      : listIn(await ask('videos', token, { part: 'snippet,statistics', id: ids.join(',') }, signal), 'items').map(
          read,
        );
  return {
    async account(token, { signal }) {
      const channel = await channelOf(token, signal);
      const statistics = objectIn(channel, 'statistics');
      const isHidden = statistics['hiddenSubscriberCount'] === true;
      const readings = {
        followers: isHidden ? null : countIn(numberIn(statistics, 'subscriberCount')),
        posts: countIn(numberIn(statistics, 'videoCount')),
      };
      const name = wordIn(objectIn(channel, 'snippet'), 'title');
      return { external_id: wordIn(channel, 'id') ?? '', name, readings };
    },
    async *posts(token, { signal }) {
      const details = objectIn(await channelOf(token, signal), 'contentDetails');
      const playlistId = wordIn(objectIn(details, 'relatedPlaylists'), 'uploads');
      if (playlistId === undefined) return;
      for (let pageToken: string | undefined; ;) {
        const fields = { part: 'contentDetails', maxResults: 50, playlistId, pageToken };
        const page = await ask('playlistItems', token, fields, signal);
        const ids = listIn(page, 'items').flatMap((item) => wordIn(objectIn(item, 'contentDetails'), 'videoId') ?? []);
        yield await videos(token, ids, signal);
        const next = wordIn(page, 'nextPageToken');
        if (next === undefined || next === pageToken) return;
        pageToken = next;
      }
    },
    post: async (token, id, { signal }) => (await videos(token, [id], signal))[0],
  };
}

/** A count that the owner has hidden is not there. */
function read(video: Json): OfPost {
  const snippet = objectIn(video, 'snippet');
  const statistics = objectIn(video, 'statistics');
  const id = wordIn(video, 'id') ?? '';
  return {
    external_id: id,
    published_at: timeIn(wordIn(snippet, 'publishedAt')),
    title: wordIn(snippet, 'title'),
    url: `https://www.youtube.com/watch?v=${encodeURIComponent(id)}`,
    readings: {
      views: countIn(numberIn(statistics, 'viewCount')),
      likes: countIn(numberIn(statistics, 'likeCount')),
      comments: countIn(numberIn(statistics, 'commentCount')),
    },
  };
}
