import { messageOf } from '../errors.ts';
import { Keyring, secretsOfKeys } from '../seal.ts';
import { group } from './group.ts';
import { text } from './values.ts';

const keys = text
  .transform((value, context) => {
    try {
      return new Keyring(value);
    } catch (error) {
      context.addIssue({ code: 'custom', message: messageOf(error) });
      return undefined as never;
    }
  })
  .optional()
  .meta({ secret: secretsOfKeys });

/** The keys that seal sensitive values. */
export const seal = group({
  settings: { SEAL_KEYS: keys },
  read: (env) => ({ keyring: env.SEAL_KEYS }),
});
