import { longestSchema, withSchema } from '../address.ts';
import { connectionsOf, fewestConnections } from './connections.ts';
import { group } from './group.ts';
import { databaseAddress, integer, text } from './values.ts';

export const database = group({
  settings: {
    DATABASE_URL: databaseAddress.optional(),
    DATABASE_CONNECTIONS: integer(fewestConnections, 10_000).default(16),
    ROWMILL_SCHEMA: text
      .regex(/^(?!pg_)[a-z_][a-z0-9_]*$/, 'must be a name of small letters, digits and _, and not begin with pg_')
      .max(longestSchema, `must have ${longestSchema} characters or less`)
      .optional(),
  },
  read: (env) => ({
    /** Includes the schema of our tables, if one was set. */
    databaseUrl: env.DATABASE_URL && withSchema(env.DATABASE_URL, env.ROWMILL_SCHEMA),
    /** Undefined: the schema that the address or the role's search_path gives. */
    schema: env.ROWMILL_SCHEMA,
    connections: connectionsOf(env.DATABASE_CONNECTIONS),
  }),
});
