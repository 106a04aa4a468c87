/** How accounts of a platform are connected, and their tokens renewed. It tries once, and knows no database. */
export type Auth = {
  /** The id of your app; undefined if it is not set. */
  appId: string | undefined;
  /** Where the owner of an account says yes. @throws RetryableError `social_not_configured` */
  consentUrl(options: { state: string; challenge: string }): URL;
  /** The accounts that the owner said yes to. @throws what `renew` throws */
  connect(options: { code: string; verifier: string; signal: AbortSignal }): Promise<Connected[]>;
  /**
   * A new access token. A refresh token that comes with it takes the place of the old one, which may be void from now
   * on.
   * @throws ReconnectNeeded; Limited; RetryableError `social_unavailable`, `social_not_configured`
   */
  renew(tokens: Renewable, options: { signal: AbortSignal }): Promise<Tokens>;
};

type Renewable = { external_id: string; access_token: string; refresh_token: string | null };

/** `lives`: seconds that the access token is good for; undefined: it does not expire. */
export type Tokens = {
  access_token: string;
  refresh_token?: string | undefined;
  lives?: number | undefined;
  scopes?: string[] | undefined;
};

export type Connected = Tokens & { external_id: string; name?: string | undefined };
