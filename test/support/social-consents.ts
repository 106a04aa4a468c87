import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';

/** The page on which the owner of an account says yes or no, and the codes that it gives. */
export type Consents = {
  /** The account as which the owner is signed in. */
  as: string;
  /** The owner opens a link and says yes. @returns the parameters with which the platform leads back */
  yes(link: string): URLSearchParams;
  no(link: string): URLSearchParams;
  /** Whether a code is good: once, with its redirect URI, and with the verifier of its challenge. */
  redeem(form: URLSearchParams): boolean;
};

export function createConsents(as: string): Consents {
  const codes = new Map<string, { redirect: string; challenge: string | null }>();
  const read = (link: string) => {
    const { searchParams } = new URL(link);
    assert.equal(searchParams.get('response_type'), 'code');
    for (const name of ['redirect_uri', 'state', 'scope']) assert.ok(searchParams.get(name), name);
    assert.ok(searchParams.get('client_id') ?? searchParams.get('client_key'));
    if (searchParams.has('code_challenge')) assert.equal(searchParams.get('code_challenge_method'), 'S256');
    return { query: searchParams, state: searchParams.get('state')! };
  };
  const consents: Consents = {
    as,
    yes(link) {
      const { query, state } = read(link);
      const code = randomBytes(8).toString('hex');
      codes.set(code, { redirect: query.get('redirect_uri')!, challenge: query.get('code_challenge') });
      return new URLSearchParams({ code, state });
    },
    no: (link) => new URLSearchParams({ error: 'access_denied', state: read(link).state }),
    redeem(form) {
      const code = codes.get(form.get('code')!);
      codes.delete(form.get('code')!);
      if (!code || code.redirect !== form.get('redirect_uri')) return false;
      const verifier = form.get('code_verifier') ?? '';
      return code.challenge === null || code.challenge === createHash('sha256').update(verifier).digest('base64url');
    },
  };
  return consents;
}
