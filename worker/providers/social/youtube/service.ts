import type { Service } from '../../../base/http/fetch.ts';

export const service: Service = {
  code: 'youtube',
  name: 'YouTube',
  settings: { address: 'YOUTUBE_API_URL', secret: 'YOUTUBE_CLIENT_ID and YOUTUBE_CLIENT_SECRET' },
};
