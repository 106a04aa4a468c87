import type { Service } from '../../../base/http/fetch.ts';

export const service: Service = {
  code: 'instagram',
  name: 'Instagram',
  settings: { address: 'INSTAGRAM_API_URL', secret: 'INSTAGRAM_APP_ID and INSTAGRAM_APP_SECRET' },
};
