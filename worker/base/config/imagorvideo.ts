import { group } from './group.ts';
import { url } from './values.ts';

export const imagorvideo = group({
  settings: { IMAGORVIDEO_URL: url.optional() },
  read: (env) => ({ imagorVideoUrl: env.IMAGORVIDEO_URL }),
});
