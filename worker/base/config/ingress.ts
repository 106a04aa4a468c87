import { isSigningSecret } from '../signature.ts';
import { group } from './group.ts';
import { integer, text } from './values.ts';

/** Who may add jobs over HTTP, and of which kinds. */
export type Access = {
  name: string;
  secret: string;
  /** Such as `media.*` and `notification.email`. Undefined: all. */
  kinds: string[] | undefined;
};

const shortest = 16;

/** `name:secret` or `name:secret:kinds`, several with commas. While one secret replaces another, a name has both. */
const accesses = text
  .transform((value, context) =>
    value
      .split(',')
      .filter((part) => part.trim() !== '')
      .map((part, n) => {
        const [, name, secret, kinds] = /^([\w.-]{1,60}):([^:\s]+)(?::([^:\s]+))?$/.exec(part.trim()) ?? [];
        const fault = faultOf(name, secret, kinds);
        // The text has secrets in it: no message quotes it.
        if (fault) context.addIssue({ code: 'custom', message: `number ${n + 1} ${fault}` });
        return { name: name ?? '', secret: secret ?? '', kinds: kinds?.split('+') } satisfies Access;
      }),
  )
  .refine((all) => new Set(all.map(({ secret }) => secret)).size === all.length, 'has a secret twice')
  .optional();

function faultOf(name: string | undefined, secret: string | undefined, kinds: string | undefined): string | undefined {
  if (!name || !secret) return 'must be name:secret or name:secret:kinds, without a colon or a comma in the secret';
  if (secret.length < shortest) return `(${name}) has a secret of less than ${shortest} characters`;
  const strange = kinds?.split('+').find((kind) => !/^([a-z0-9_]+\.([a-z0-9_]+|\*)|\*)$/.test(kind));
  return strange === undefined ? undefined : `(${name}) has kinds that are not such as media.*+notification.email`;
}

const secretsOf = (value: string) => value.split(',').flatMap((part) => part.trim().split(':').slice(1, 2));

/** What adds jobs over HTTP. */
export const ingress = group({
  settings: {
    INGRESS_TOKENS: accesses.meta({ secret: secretsOf }),
    INGRESS_SIGNING_SECRETS: accesses
      .refine(
        (all) => (all ?? []).every(({ secret }) => isSigningSecret(secret)),
        'must have secrets such as whsec_ and 24 to 64 bytes as base64',
      )
      .meta({ secret: secretsOf }),
    INGRESS_MAX_BACKLOG: integer(1, 1_000_000_000).optional(),
  },
  read: (env) => ({
    ingress: {
      tokens: env.INGRESS_TOKENS ?? [],
      /** Who may sign requests in place of sending a token. */
      signers: env.INGRESS_SIGNING_SECRETS ?? [],
      /** With so many due jobs in a queue, no more are taken. */
      maxBacklog: env.INGRESS_MAX_BACKLOG,
    },
  }),
});
