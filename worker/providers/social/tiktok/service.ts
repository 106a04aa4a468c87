import type { Service } from '../../../base/http/fetch.ts';

export const service: Service = {
  code: 'tiktok',
  name: 'TikTok',
  settings: { address: 'TIKTOK_API_URL', secret: 'TIKTOK_CLIENT_KEY and TIKTOK_CLIENT_SECRET' },
};
