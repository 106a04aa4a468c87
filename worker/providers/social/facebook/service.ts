import type { Service } from '../../../base/http/fetch.ts';

export const service: Service = {
  code: 'facebook',
  name: 'Facebook',
  settings: { address: 'FACEBOOK_API_URL', secret: 'FACEBOOK_APP_ID and FACEBOOK_APP_SECRET' },
};
