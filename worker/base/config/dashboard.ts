import { group } from './group.ts';
import { flag, secret, text } from './values.ts';

const password = secret.refine((value) => value === undefined || value.length >= 8, 'must have 8 characters or more');

/** Who may open the dashboard, and what it shows. */
export const dashboard = group({
  settings: {
    DASHBOARD_PASSWORD: password.meta({ secret: true }),
    DASHBOARD_READONLY_PASSWORD: password.meta({ secret: true }),
    DASHBOARD_PATH: text.regex(/^(\/[\w.~-]+)+$/, 'must be a path such as /dashboard').default('/dashboard'),
    DASHBOARD_HIDE_PAYLOADS: flag.optional(),
    DASHBOARD_USER_HEADER: text.regex(/^[\w-]+$/, 'must be the name of a header, such as X-Forwarded-User').optional(),
  },
  faults: (given) =>
    given['DASHBOARD_PASSWORD']?.trim() && given['DASHBOARD_PASSWORD'] === given['DASHBOARD_READONLY_PASSWORD']
      ? ['DASHBOARD_READONLY_PASSWORD: must differ from DASHBOARD_PASSWORD']
      : [],
  read: (env) => ({
    dashboard: {
      /** Of an operator, who may change jobs. */
      password: env.DASHBOARD_PASSWORD,
      readonlyPassword: env.DASHBOARD_READONLY_PASSWORD,
      path: env.DASHBOARD_PATH,
      hidePayloads: env.DASHBOARD_HIDE_PAYLOADS ?? false,
      /** In which header a proxy says who the user is. */
      userHeader: env.DASHBOARD_USER_HEADER,
    },
  }),
});
