import { createHash, randomBytes } from 'node:crypto';
import type { App } from '../../../app.ts';
import { loadStatements, query } from '../../../base/db/sql.ts';
import { isOf, messageOf, PermanentError, RetryableError, Snooze, UsageError } from '../../../base/errors.ts';
import { open } from '../../../base/seal.ts';
import type { Connected } from '../../../providers/social/auth.ts';
import { ReconnectNeeded } from '../../../providers/social/errors.ts';
import type { Platform } from '../../../providers/social/social.ts';
import { putAccount } from './account.ts';

/**
 * Connects an account by OAuth 2.0: a link leads its owner to the platform, and the platform leads the owner back with
 * a code. https://www.rfc-editor.org/rfc/rfc9700: the state is good once, and PKCE binds the code to it.
 */

const sql = loadStatements(import.meta.dirname, 'connect.sql', ['add_link', 'use_link', 'account_of_link']);

type Given = Pick<App, 'db' | 'config' | 'social'>;

const linkSeconds = 3_600;

/**
 * @param account the row that is connected again; undefined: any account of the platform
 * @returns the address at which the owner allows it. Whoever has it can connect an account, once, within an hour
 * @throws UsageError if a setting is missing, or if there is no such account of the platform
 */
export async function beginConnect(
  { db, config, social }: Given,
  platform: Platform,
  account?: number,
): Promise<{ url: string; expires_at: Date }> {
  const { auth } = social[platform];
  const redirect = `${platform.toUpperCase()}_REDIRECT_URI`;
  if (!auth.appId || !config.social[platform].redirectUri)
    throw new UsageError(`${redirect} is not set, or the app of ${platform}: see .env.example`);
  if (!config.keyring) throw new UsageError('SEAL_KEYS is not set: the tokens of accounts are stored sealed');
  if (account !== undefined) {
    const [row] = await query<{ platform: string }>(db, sql.account_of_link, { id: account });
    if (row?.platform !== platform) throw new UsageError(`There is no account ${account} of ${platform}`);
  }
  const state = randomBytes(32).toString('base64url');
  const verifier = randomBytes(48).toString('base64url');
  const state_hash = hashOf(state);
  const [link] = await query<{ expires_at: Date }>(db, sql.add_link, {
    state_hash,
    platform,
    verifier: config.keyring.seal(verifier, placeOf(state_hash)),
    account_id: account ?? null,
    seconds: linkSeconds,
  });
  return { url: auth.consentUrl({ state, challenge: hashOf(verifier) }).href, ...link! };
}

/** Base64url of sha256: what PKCE calls S256, too. */
const hashOf = (value: string) => createHash('sha256').update(value).digest('base64url');

const placeOf = (row: string) => ({ table: 'social_connects', row, field: 'verifier' });

export type Answered = { state?: string | undefined; code?: string | undefined; error?: string | undefined };
export type Ended = { is: 'connected'; accounts: { id: number; name: string }[] } | { is: 'refused'; why: string };

/** The platform led the owner back. The link is used up, whatever comes of it. @throws a fault of Postgres */
export async function endConnect(given: Given, platform: Platform, answered: Answered): Promise<Ended> {
  const { db, config } = given;
  const state_hash = hashOf(answered.state ?? '');
  const [link] = await query<{ verifier: string; account_id: number | null; is_good: boolean }>(db, sql.use_link, {
    state_hash,
    platform,
  });
  if (!link) return refuse('This link is not known, or was used already.');
  if (!link.is_good) return refuse('This link has expired.');
  if (answered.error) return refuse(`${platform} was told no: nothing was connected.`);
  if (!answered.code) return refuse(`${platform} has sent no code.`);
  const verifier = String(open(link.verifier, placeOf(state_hash), config.keyring));
  const found = await ask(given, platform, answered.code, verifier);
  if ('why' in found) return found;
  const wanted = await wantedOf(given, link.account_id, found.connected);
  if ('why' in wanted) return wanted;
  const accounts = [];
  for (const each of wanted.connected)
    accounts.push({ id: await putAccount(given, platform, each), name: each.name ?? each.external_id });
  return { is: 'connected', accounts };
}

const refuse = (why: string) => ({ is: 'refused' as const, why });
type Found = { connected: Connected[] };

async function ask(given: Given, platform: Platform, code: string, verifier: string) {
  const signal = AbortSignal.timeout(2 * given.config.social.timeoutMs);
  try {
    const connected = await given.social[platform].auth.connect({ code, verifier, signal });
    if (connected.every(({ external_id }) => external_id !== '')) return { connected } satisfies Found;
    return refuse(`${platform} does not say whose account it is.`);
  } catch (error) {
    const isForeseen = isOf(error, PermanentError) || isOf(error, RetryableError) || isOf(error, Snooze);
    if (isForeseen || error instanceof ReconnectNeeded || signal.aborted) return refuse(messageOf(error));
    throw error;
  }
}

/** A link that was made for one account connects no other: waiting posts would be published on the wrong one. */
async function wantedOf(
  { db }: Given,
  id: number | null,
  connected: Connected[],
): Promise<Found | ReturnType<typeof refuse>> {
  if (id === null) return { connected };
  const [wanted] = await query<{ external_id: string; name: string }>(db, sql.account_of_link, { id });
  const same = connected.filter(({ external_id }) => external_id === wanted?.external_id);
  if (same.length > 0) return { connected: same };
  const others = connected.map(({ name, external_id }) => name ?? external_id).join(', ');
  return refuse(
    `The link is for the account ${wanted?.name ?? id}, and you said yes as ${others}. Nothing was connected.`,
  );
}
