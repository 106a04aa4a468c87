import { PermanentError, RetryableError, Snooze } from '../../base/errors.ts';

/** Why a platform does not take a post, for error_code. */
export type SocialErrorCode =
  | 'social_refused'
  | 'social_restricted'
  | 'social_privacy_refused'
  | 'social_processing_failed'
  | 'social_media_not_public'
  | 'social_content_refused';

/** It certainly was not published, and never will be as it is. */
export const refused = (code: SocialErrorCode, message: string): PermanentError => new PermanentError(code, message);

/** Something that reads, or that publishes nothing, did not work. It may later. */
export const unavailable = (message: string, cause?: unknown): RetryableError =>
  new RetryableError('social_unavailable', message, { cause });

/** The platform does not accept the access token. A new one may be accepted. */
export class TokenRefused extends Error {
  override name = 'TokenRefused';
}

/** The tokens are no longer good for anything, or lack a permission: the owner must connect the account again. */
export class ReconnectNeeded extends Error {
  override name = 'ReconnectNeeded';
}

/** What was prepared on the platform is gone, and nothing was published of it: it is prepared anew. */
export class StartOver extends Error {
  override name = 'StartOver';
}

/** Whom a limit holds up: one account, or all accounts of the platform, because the app has used up its share. */
type Scope = 'account' | 'app';

/**
 * Nothing is wrong; the platform says when to come back. The wait is kept for the whole fleet.
 * @param wait milliseconds, or the time zone whose next day must begin
 */
export class Limited extends Snooze {
  readonly scope: Scope;
  readonly wait: number | { nextDayIn: string };
  constructor(scope: Scope, wait: number | { nextDayIn: string }, reason: string) {
    super(typeof wait === 'number' ? wait : 3_600_000, reason, { bounded: false });
    this.scope = scope;
    this.wait = wait;
  }
}
